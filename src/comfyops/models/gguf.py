"""How long a GGUF file must be, from its beginning: values, then the tensors with type, shape and offset.

Source: the GGUF specification (versions 2 and 3, little-endian) and the block sizes of ggml's types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from typing import IO

_MAGIC = int.from_bytes(b"GGUF", "little")
_ALIGNMENT = 32
_MOST_ITEMS = 1 << 22
_MOST_TEXT = 1 << 26
_MOST_DIMENSIONS = 8
_LEAST_TENSOR, _LEAST_VALUE = 24, 13  # bytes that the shortest of each takes in the header
_STRING, _ARRAY = 8, 9
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each simple type."""
_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82)},
    **{23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2)},
    **{34: (256, 54), 35: (256, 66), 39: (32, 17)},
}
"""Elements and bytes of a block, by the number of ggml's type."""


def least_size(file: IO[bytes]) -> int | None:
    """The end of the last tensor in bytes; None where a tensor is of an unknown type or the version is another one.

    Raises CutShortError where the header is not whole, ValueError where it makes no sense.
    """
    reader = _Reader(file)
    magic, version, tensors, values = reader.unpack("<IIQQ")
    if magic != _MAGIC or version not in (2, 3):
        return None
    reader.holds(tensors * _LEAST_TENSOR + values * _LEAST_VALUE)
    alignment = _ALIGNMENT
    for _ in range(_within(values, _MOST_ITEMS)):
        key = reader.text()
        (kind,) = reader.unpack("<I")
        if key == b"general.alignment" and kind == 4:
            (alignment,) = reader.unpack("<I")
        else:
            reader.skip_value(kind)
    ends = list(_ends(reader, _within(tensors, _MOST_ITEMS)))
    if any(end is None for end in ends) or not 0 < alignment <= 1 << 20:
        return None
    start = -(-reader.position // alignment) * alignment
    return start + max((end for end in ends if end is not None), default=0) if ends else reader.position


def _ends(reader: _Reader, count: int) -> Iterator[int | None]:
    """Where each tensor ends, counted from the start of the data; None for types that are not known."""
    for _ in range(count):
        reader.text()
        (dimensions,) = reader.unpack("<I")
        shape = reader.unpack(f"<{_within(dimensions, _MOST_DIMENSIONS)}Q")
        kind, offset = reader.unpack("<IQ")
        elements, size = _BLOCKS.get(kind, (0, 0))
        yield offset + -(-prod(shape) // elements) * size if elements else None


class CutShortError(ValueError):
    """The file ends before its header does."""


class _Reader:
    """Reads values one after the other, and knows where it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._size = file.seek(0, 2)
        self._file = file
        self.position = file.seek(0)

    def unpack(self, form: str) -> tuple[int, ...]:
        """The next values. Raises CutShortError where the file ends before."""
        return struct.unpack(form, self._read(struct.calcsize(form)))

    def text(self) -> bytes:
        """The next text."""
        (length,) = self.unpack("<Q")
        if length > _MOST_TEXT:
            self.holds(length)
            raise ValueError(f"a text of {length} bytes")
        return self._read(length)

    def skip_value(self, kind: int, depth: int = 0) -> None:
        """Pass over a value of this type."""
        if kind == _STRING:
            self.text()
        elif kind == _ARRAY and depth < 4:
            inner, count = self.unpack("<IQ")
            self.holds(count * _SCALARS.get(inner, 8))
            if inner in _SCALARS:
                self._read(_SCALARS[inner] * _within(count, _MOST_TEXT))
                return
            for _ in range(_within(count, _MOST_ITEMS)):
                self.skip_value(inner, depth + 1)
        elif kind in _SCALARS:
            self._read(_SCALARS[kind])
        else:
            raise ValueError(f"a value of the type {kind}")

    def holds(self, count: int) -> None:
        """See that so many bytes are still to come. Raises CutShortError."""
        if count > self._size - self.position:
            raise CutShortError("the header is not whole")

    def _read(self, count: int) -> bytes:
        self.holds(count)
        data = self._file.read(count)
        if len(data) < count:
            raise CutShortError("the header is not whole")
        self.position += count
        return data


def _within(count: int, most: int) -> int:
    if count > most:
        raise ValueError(f"{count} is more than can be")
    return count
