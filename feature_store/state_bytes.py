"""Bytes of entity states: variable-length integers, compiled.

An integer is zigzag-folded, so that small negative numbers stay small, and written seven bits
a byte, low ones first, as in Protocol Buffers (https://protobuf.dev/programming-guides/encoding).
Hashes, which have no small values, take eight bytes, little-endian.
"""

import numpy as np
from numpy.typing import NDArray

from feature_store.machine_code import inlined

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


_LOW_57 = (1 << 57) - 1
_LOW_63 = (1 << 63) - 1


@inlined
def put(data: Bytes, at: int, number: int) -> int:
    """Write an integer at a place; returns the next place."""
    folded = (number << 1) ^ (number >> 63)
    while folded & ~127 != 0:
        data[at] = (folded & 127) | 128
        folded = (folded >> 7) & _LOW_57
        at += 1
    data[at] = folded
    return at + 1


@inlined
def get(data: Bytes, at: int) -> tuple[int, int]:
    """The integer at a place, and the next place."""
    folded, shift = 0, 0
    while True:
        byte = int(np.int64(data[at]))
        at += 1
        folded |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return ((folded >> 1) & _LOW_63) ^ -(folded & 1), at


@inlined
def put_hash(data: Bytes, at: int, number: int) -> int:
    """Write an integer in eight bytes; returns the next place."""
    for byte in range(8):
        data[at + byte] = (number >> (8 * byte)) & 255
    return at + 8


@inlined
def get_hash(data: Bytes, at: int) -> tuple[int, int]:
    """The integer in the eight bytes at a place, and the next place."""
    number: int = 0
    for byte in range(8):
        number |= int(np.int64(data[at + byte])) << (8 * byte)
    return number, at + 8
