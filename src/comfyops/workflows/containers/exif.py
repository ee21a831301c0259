"""Texts in WebP (and JPEG): EXIF fields of the form "key:text", as ComfyUI writes them into animated WebP.

Source: the RIFF/WebP container and the Exif (TIFF) specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAX_FIELDS = 200


def is_one(data: bytes) -> bool:
    """Whether the bytes begin as a WebP or a JPEG."""
    return (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or data[:3] == b"\xff\xd8\xff"


def texts(data: bytes) -> dict[str, str]:
    """The "key:text" fields by key.

    Raises ValueError where the EXIF part is damaged.
    """
    parts = _webp(data) if data[:4] == b"RIFF" else _jpeg(data)
    found: dict[str, str] = {}
    for part in parts:
        for text in _fields(part.removeprefix(b"Exif\0\0")):
            key, colon, value = text.partition(":")
            if colon and key.isidentifier():
                found.setdefault(key, value)
    return found


def _webp(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"EXIF":
            if at + 8 + size > len(data):
                raise ValueError("the file is cut short")
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _jpeg(data: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data[at + 4 : at + 8] == b"Exif":
            yield data[at + 4 : at + 2 + size]
        at += 2 + max(size, 2)


def _fields(tiff: bytes) -> Iterator[str]:
    """The text fields of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        raise ValueError("its EXIF part has no byte order")
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        raise ValueError("its EXIF part is cut short")
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for number in range(min(count, _MAX_FIELDS)):
        at = start + 2 + 12 * number
        if at + 12 > len(tiff):
            raise ValueError("its EXIF part is cut short")
        _, kind, length = struct.unpack_from(f"{order}HHI", tiff, at)
        if kind == 2:
            place = at + 8 if length <= 4 else struct.unpack_from(f"{order}I", tiff, at + 8)[0]
            yield tiff[place : place + length].rstrip(b"\0").decode("utf-8", "replace")
