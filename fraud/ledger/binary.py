"""Values as PostgreSQL sends and takes them in binary: nothing to quote, scan or decode.

A batch's states are half a megabyte. As literals the server reads every character of them
several times, and we write them; in binary both only copy them. The forms are those of the
types' send and receive functions, stable since PostgreSQL 7.4.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

_OID = {"int": 23, "bigint": 20, "text": 25, "varchar": 1043}
_ARRAY = struct.Struct(">iiiii")  # dimensions, has nulls, type of elements, length, lower bound
_LENGTH = struct.Struct(">i")
_NUMBER = {"int": ">i4", "bigint": ">i8"}

TEXT, BINARY = 0, 1


def encoded(kind: str, value: object) -> tuple[bytes | None, int]:
    """A parameter's bytes and their format.

    Args:
        kind: type of the parameter, as PostgreSQL writes it.
        value: `bytes` of a `bytea`, a list of an array, `str` of a text or of JSON; anything
            else goes as its text; None is NULL.
    """
    if value is None:
        return None, TEXT
    if isinstance(value, bytes):
        return value, BINARY
    if kind.endswith("[]"):
        return _array(kind.removesuffix("[]"), value), BINARY  # type: ignore[arg-type]
    if kind == "jsonb":
        return b"\x01" + str(value).encode(), BINARY
    if kind in ("text", "varchar"):
        return str(value).encode(), BINARY  # as text it would end at a zero byte
    return str(value).encode(), TEXT


def decoded(kind: str, value: bytes) -> Any:
    """The value of a binary column: `bytes` of a `bytea`, a list of an array."""
    if kind == "bytea":
        return value
    element = kind.removesuffix("[]")
    if element in _NUMBER:
        return np.frombuffer(value[_ARRAY.size :], _numbers(element))["value"].tolist()
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


def _array(element: str, values: Sequence[Any]) -> bytes:
    if not len(values):
        return _ARRAY.pack(0, 0, _OID[element], 0, 0)[: 3 * _LENGTH.size]
    head = _ARRAY.pack(1, 0, _OID[element], len(values), 1)
    if element in _NUMBER:
        elements = np.empty(len(values), _numbers(element))
        elements["size"] = elements["value"].dtype.itemsize
        elements["value"] = values
        return head + elements.tobytes()
    texts = [each.encode() for each in values]
    return head + b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])


def _numbers(element: str) -> np.dtype[Any]:
    return np.dtype([("size", ">i4"), ("value", _NUMBER[element])])
