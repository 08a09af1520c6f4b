"""Compact bytes for lists of integers: the encoding of entity states.

A list is its length, a type code, and its numbers in the narrowest of 1, 2, 4 or 8 bytes
that holds them all, little-endian. Ascending lists store the first number and the steps.

States are read and written for every event, so lists are handled by one compiled `Struct`
per length and type, kept as long as the process runs: there are a few hundred of them.
"""

from functools import cache
from itertools import accumulate
from operator import sub
from struct import Struct

MAX_LENGTH = 65_535

_EMPTY = b"\x00\x00b"
_HEADER = Struct("<HB")


class Writer:
    """Collects lists of integers into bytes."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def integers(self, numbers: list[int]) -> None:
        """Append a list of int64; at most 65,535 of them."""
        if not numbers:
            self._parts.append(_EMPTY)
            return
        code = _code(numbers)
        length = len(numbers)
        self._parts.append(_whole(code, length).pack(length, ord(code), *numbers))

    def ascending(self, numbers: list[int]) -> None:
        """Append an ascending list as its first number and the steps between them."""
        self.integers(numbers[:1])
        self.integers(list(map(sub, numbers[1:], numbers)))

    def getvalue(self) -> bytes:
        """Everything appended so far."""
        return b"".join(self._parts)


class Reader:
    """Takes lists of integers from bytes, in the order they were written."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integers(self) -> list[int]:
        """The next list."""
        begin = self._at + 3
        header = self._data[self._at : begin]
        if header == _EMPTY:
            self._at = begin
            return []
        numbers = _numbers(header)
        self._at = begin + numbers.size
        return list(numbers.unpack_from(self._data, begin))

    def ascending(self) -> list[int]:
        """The next ascending list."""
        first = self.integers()
        steps = self.integers()
        return list(accumulate(steps, initial=first[0])) if steps else first


def _code(numbers: list[int]) -> str:
    """The narrowest type that holds every number."""
    first = numbers[0]
    if first >= 2_147_483_648 or first < -2_147_483_648:
        return "q"  # ids and times, the longest lists, need no further look
    low, high = min(numbers), max(numbers)
    if low >= -128 and high < 128:
        return "b"
    if low >= -32_768 and high < 32_768:
        return "h"
    return "i" if low >= -2_147_483_648 and high < 2_147_483_648 else "q"


@cache
def _whole(code: str, length: int) -> Struct:
    return Struct(f"<HB{length}{code}")


@cache
def _numbers(header: bytes) -> Struct:
    length, code = _HEADER.unpack(header)
    return Struct(f"<{length}{chr(code)}")
