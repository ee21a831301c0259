"""The header of a safetensors file: names, types, shapes and places of its tensors, judged without reading them.

Source: the safetensors format (8 bytes little-endian length, a JSON object in UTF-8, then the tensors without holes)
and the checks that its own library makes before it loads a file. A type that is not known here is taken as it is.
"""

from __future__ import annotations

import json
import struct
from math import prod
from typing import IO, Any

MOST_HEADER = 100 * 1000 * 1000
"""Largest header in bytes; the format's own limit."""

_MOST_DIGITS = 20
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one value of each type."""


def check(file: IO[bytes], size: int) -> None:
    """See that a file of `size` bytes is whole and makes sense. Raises ValueError saying what is wrong with it."""
    whole = whole_size(file, size)
    if whole != size:
        raise ValueError(f"its header speaks of {whole} bytes, there are {size}")


def whole_size(file: IO[bytes], size: int) -> int:
    """How many bytes a file has by its own header, which may be all that is there of it (`size` bytes are).

    Raises ValueError where the header is not whole, or makes no sense.
    """
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it is shorter than any safetensors file")
    (length,) = struct.unpack("<Q", start)
    if not 2 <= length <= min(size - 8, MOST_HEADER):
        raise ValueError(f"its header would be {length} bytes long")
    header = _parsed(file.read(length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    return 8 + int(length) + _end(header)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode(), object_pairs_hook=_once, parse_int=_number)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    if not isinstance(value, dict) or not text.startswith(b"{"):
        raise ValueError("its header is no object")
    return value


def _number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number of its header is larger than any file")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names something twice")
    return found


def _end(tensors: dict[str, Any]) -> int:
    """Where the last tensor ends, counted from the end of the header."""
    end = 0
    for first, last, tensor in sorted((_place(item) for item in tensors.values()), key=lambda item: item[:2]):
        if first != end:
            raise ValueError("a tensor of its header does not begin where the one before it ends")
        values, bits = _values(tensor), _BITS.get(str(tensor.get("dtype")))
        if bits is not None and values * bits != (last - first) * 8:
            raise ValueError("a tensor of its header is not as large as its shape")
        end = last
    return end


def _place(item: Any) -> tuple[int, int, dict[str, Any]]:
    offsets = item.get("data_offsets") if isinstance(item, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(value) is int for value in offsets)):
        raise ValueError("a tensor of its header has no offsets")
    if not 0 <= offsets[0] <= offsets[1]:
        raise ValueError("a tensor of its header ends before it begins")
    return offsets[0], offsets[1], item


def _values(tensor: dict[str, Any]) -> int:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(value) is int and value >= 0 for value in shape):
        raise ValueError("a tensor of its header has no shape")
    if not isinstance(tensor.get("dtype"), str):
        raise ValueError("a tensor of its header has no type")
    return int(prod(shape))
