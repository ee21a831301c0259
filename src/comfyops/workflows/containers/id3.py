"""Texts in MP3: the user text frames (TXXX) of an ID3v2 tag. Source: the ID3v2.3 and 2.4 documents (id3.org)."""

from __future__ import annotations

_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


def is_one(data: bytes) -> bool:
    """Whether the bytes begin as an MP3 with a tag."""
    return data[:3] == b"ID3"


def texts(data: bytes) -> dict[str, str]:
    """The user text frames by description.

    Raises ValueError where the tag is cut short.
    """
    version, end = data[3] if len(data) > 3 else 0, 10 + _synchsafe(data[6:10])
    if len(data) < end:
        raise ValueError("its tag is cut short")
    found: dict[str, str] = {}
    at = 10
    while at + 10 <= end and data[at]:
        raw = data[at + 4 : at + 8]
        size = _synchsafe(raw) if version >= 4 else int.from_bytes(raw, "big")
        if data[at : at + 4] == b"TXXX":
            key, value = _pair(data[at + 10 : min(at + 10 + size, end)])
            found.setdefault(key, value)
        at += 10 + size
    return found


def _pair(body: bytes) -> tuple[str, str]:
    encoding = _ENCODINGS.get(body[0] if body else 0, "latin-1")
    text = body[1:].decode(encoding, "replace")
    key, _, value = text.partition("\0")
    return key, value.rstrip("\0").removeprefix("\ufeff")


def _synchsafe(raw: bytes) -> int:
    value = 0
    for byte in raw:
        value = value << 7 | byte & 127
    return value
