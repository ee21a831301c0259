"""Texts in Matroska and WebM: simple tags. Source: RFC 8794 (EBML) and RFC 9559 (Matroska)."""

from __future__ import annotations

from collections.abc import Iterator

_SEGMENT, _TAGS, _TAG, _SIMPLE, _NAME, _STRING = 0x18538067, 0x1254C367, 0x7373, 0x67C8, 0x45A3, 0x4487
_CLUSTER = 0x1F43B675
_MAX_ELEMENTS = 1_000_000


def is_one(data: bytes) -> bool:
    """Whether the bytes begin as a Matroska or WebM file."""
    return data[:4] == b"\x1aE\xdf\xa3"


def texts(data: bytes) -> dict[str, str]:
    """The simple tags by name. Raises ValueError where the file has no segment."""
    found: dict[str, str] = {}
    seen = False
    for kind, start, end in _elements(data, 0, len(data)):
        if kind == _SEGMENT:
            seen = True
            for inner, inner_start, inner_end in _elements(data, start, end):
                if inner == _TAGS:
                    found.update(_tags(data, inner_start, inner_end))
    if not seen:
        raise ValueError("the file is cut short")
    return found


def _tags(data: bytes, start: int, end: int) -> Iterator[tuple[str, str]]:
    for kind, at, stop in _elements(data, start, end):
        if kind != _TAG:
            continue
        for inner, inner_at, inner_stop in _elements(data, at, stop):
            if inner == _SIMPLE:
                parts = {key: data[a:b] for key, a, b in _elements(data, inner_at, inner_stop)}
                name, value = parts.get(_NAME), parts.get(_STRING)
                if name is not None and value is not None:
                    yield name.decode("utf-8", "replace").lower(), value.rstrip(b"\0").decode("utf-8", "replace")


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(id, start of the content, end) of each element in a range; one of unknown length reaches to the range's end."""
    at = start
    for _ in range(_MAX_ELEMENTS):
        kind, at = _number(data, at, end, keep_marker=True)
        size, at = _number(data, at, end, keep_marker=False)
        if kind is None or size is None:
            return
        stop = end if size < 0 else at + size
        if stop > end:
            stop = end
        yield kind, at, stop
        # A live recording's clusters have no length; what follows one lies inside it, where tags cannot be.
        at = stop


def _number(data: bytes, at: int, end: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """A number of variable length and where it ends; None where there is none, -1 for "unknown"."""
    if at >= end or data[at] == 0:
        return None, at
    width = 9 - data[at].bit_length()
    if at + width > end:
        return None, at
    value = int.from_bytes(data[at : at + width], "big")
    if not keep_marker:
        mask = (1 << 7 * width) - 1
        value = -1 if value & mask == mask else value & mask
    return value, at + width
