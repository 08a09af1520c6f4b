"""Values as PostgreSQL sends and takes them in binary: nothing to quote, scan or decode.

A batch's states are half a megabyte. As literals the server reads every character of them
several times, and we write them; in binary both only copy them. The forms are those of the
types' send and receive functions, stable since PostgreSQL 7.4.
"""

import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import repeat
from typing import Any

_OID = {"int": 23, "bigint": 20, "tid": 27, "text": 25, "varchar": 1043}
_ARRAY = struct.Struct(">iiiii")  # dimensions, has nulls, type of elements, length, lower bound
_LENGTH = struct.Struct(">i")
_SIZED = {"int": struct.Struct(">ii"), "bigint": struct.Struct(">iq"), "tid": struct.Struct(">i6s")}
"""Elements of one size, each behind its length."""

TEXT, BINARY = 0, 1

Encode = Callable[[Any], bytes]


@cache
def encoder(kind: str) -> tuple[Encode, int]:
    """How a parameter becomes bytes, and their format.

    Args:
        kind: type of the parameter, as PostgreSQL writes it. It takes `bytes` for a `bytea`, a
            list for an array, `str` for a text or for JSON; anything else goes as its text. Row
            places (`tid`) are six bytes that only the server reads.
    """
    element = kind.removesuffix("[]")
    if element != kind:
        return (_sized_encoder if element in _SIZED else _texts_encoder)(element), BINARY
    if kind == "bytea":
        return bytes, BINARY
    if kind == "jsonb":
        return lambda value: b"\x01" + value.encode(), BINARY
    if kind in ("text", "varchar"):
        return str.encode, BINARY  # as text it would end at a zero byte
    return lambda value: str(value).encode(), TEXT


def decoded(kind: str, value: bytes | None) -> Any:
    """The value of a binary column: `bytes` of a `bytea`, a list of an array, None of NULL."""
    if kind == "bytea" or value is None:
        return value
    element = kind.removesuffix("[]")
    if element in _SIZED:
        sized = _SIZED[element].iter_unpack(value[_ARRAY.size :])
        return [each for _, each in sized]
    texts, at = [], _ARRAY.size
    while at < len(value):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(value, at)[0]
        texts.append(value[begin:at].decode())
    return texts


def literal(value: Sequence[object]) -> str:
    """An array's literal, which the server reads in one go.

    Of the `ARRAY[...]` that lists become it would parse and plan every element.
    """
    texts = [str(each).replace("\\", r"\\").replace('"', r"\"") for each in value]
    return "{" + ",".join([f'"{text}"' for text in texts]) + "}"


def _sized_encoder(element: str) -> Encode:
    oid, sized = _OID[element], _SIZED[element]
    size = sized.size - _LENGTH.size

    def encode(values: Sequence[int | bytes]) -> bytes:
        return _head(oid, len(values)) + b"".join(map(sized.pack, repeat(size), values))

    return encode


def _texts_encoder(element: str) -> Encode:
    oid, sized = _OID[element], _LENGTH.pack

    def encode(values: Sequence[str]) -> bytes:
        data = bytearray(_head(oid, len(values)))
        for each in values:
            text = each.encode()
            data += sized(len(text))
            data += text
        return bytes(data)

    return encode


@lru_cache(1024)
def _head(oid: int, count: int) -> bytes:
    if not count:
        return _ARRAY.pack(0, 0, oid, 0, 0)[: 3 * _LENGTH.size]
    return _ARRAY.pack(1, 0, oid, count, 1)
