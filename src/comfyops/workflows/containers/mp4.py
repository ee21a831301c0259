"""Texts in MP4 and MOV: the keys of the metadata box, as FFmpeg writes them with `use_metadata_tags`.

Source: ISO/IEC 14496-12 and Apple's QuickTime File Format (metadata item keys, user data).
"""

from __future__ import annotations

from collections.abc import Iterator

_MAX_BOXES = 100_000


def is_one(data: bytes) -> bool:
    """Whether the bytes begin as an MP4 or MOV file."""
    return data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis", b"heic", b"mif1")


def texts(data: bytes) -> dict[str, str]:
    """The metadata of the whole film by key.

    Raises ValueError where the file is cut short before it.
    """
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"moov":
            return _of_film(data, start, end)
    raise ValueError("the film has no index, as if it were cut short")


def _of_film(data: bytes, start: int, end: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, at, stop in _boxes(data, start, end):
        if kind == b"meta":
            found |= _meta(data, at, stop)
        elif kind == b"udta":
            for inner, inner_at, inner_stop in _boxes(data, at, stop):
                if inner == b"meta":
                    found |= _meta(data, inner_at, inner_stop)
    return found


def _meta(data: bytes, start: int, end: int) -> dict[str, str]:
    """Keys and values of a metadata box, which has a version before its parts in MP4, but not in MOV."""
    if data[start + 4 : start + 8] != b"hdlr":
        start += 4
    keys: list[str] = []
    values: dict[bytes, str] = {}
    for kind, at, stop in _boxes(data, start, end):
        if kind == b"keys":
            keys = list(_keys(data, at, stop))
        elif kind == b"ilst":
            values = dict(_items(data, at, stop))
    numbers = ((int.from_bytes(name, "big"), text) for name, text in values.items())
    return {keys[number - 1]: text for number, text in numbers if 1 <= number <= len(keys)}


def _keys(data: bytes, start: int, end: int) -> Iterator[str]:
    at = start + 8
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            return
        yield data[at + 8 : min(at + size, end)].decode("utf-8", "replace")
        at += size


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, str]]:
    for name, at, stop in _boxes(data, start, end):
        for kind, value, value_end in _boxes(data, at, stop):
            if kind == b"data":
                yield name, data[value + 8 : value_end].decode("utf-8", "replace")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the content, end) of each box in a range; one that reaches beyond it is left out."""
    at = start
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            return
        yield kind, at + head, at + size
        at += size
