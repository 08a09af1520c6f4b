"""Compact bytes for lists of integers: the encoding of entity states.

A list is its length, a type code, and its numbers in the narrowest of 1, 2, 4 or 8 bytes
that holds them all, little-endian. Ascending lists store the first number and the steps.
"""

import struct
import sys
from array import array
from itertools import pairwise

_HEADER = struct.Struct("<HB")
_CODES = "bhiq"
_SIZES = {code: array(code).itemsize for code in _CODES}
_LIMITS = [(2**7, "b"), (2**15, "h"), (2**31, "i")]
MAX_LENGTH = 65_535


class Writer:
    """Collects lists of integers into bytes."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def integers(self, numbers: list[int]) -> None:
        """Append a list of int64; at most 65,535 of them."""
        if not numbers:
            self._parts.append(b"\x00\x00b")
            return
        low, high = min(numbers), max(numbers)
        code = next((code for limit, code in _LIMITS if -limit <= low and high < limit), "q")
        packed = array(code, numbers)
        if sys.byteorder == "big":
            packed.byteswap()
        self._parts.append(_HEADER.pack(len(numbers), ord(code)))
        self._parts.append(packed.tobytes())

    def ascending(self, numbers: list[int]) -> None:
        """Append an ascending list as its first number and the steps between them."""
        self.integers(numbers[:1])
        self.integers([after - before for before, after in pairwise(numbers)])

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
        length, code = _HEADER.unpack_from(self._data, self._at)
        begin = self._at + _HEADER.size
        numbers = array(chr(code))
        self._at = begin + length * _SIZES[chr(code)]
        numbers.frombytes(self._data[begin : self._at])
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tolist()

    def ascending(self) -> list[int]:
        """The next ascending list."""
        numbers = self.integers()
        for step in self.integers():
            numbers.append(numbers[-1] + step)
        return numbers
