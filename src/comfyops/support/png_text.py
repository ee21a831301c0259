"""Text in PNG files: added and read without touching the pixels.

Source: the PNG specification, chunks iTXt and IEND.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_MAX_TEXT = 64 * 1024 * 1024  # bytes, unpacked
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG."""
    return data.startswith(_SIGNATURE)


def is_whole(data: bytes) -> bool:
    """Whether the bytes are a PNG up to its last chunk."""
    try:
        return any(kind == b"IEND" for kind, _, _ in _chunks(data))
    except ValueError:
        return False


def with_text(data: bytes, keyword: str, text: str) -> bytes:
    """The PNG with an international text chunk before its end; an older one of the same keyword is replaced.

    Raises ValueError where the bytes are no whole PNG.
    """
    kept = [_SIGNATURE]
    for kind, body, raw in _chunks(data):
        if kind == b"IEND":
            kept += [_chunk(b"iTXt", _itxt(keyword, text)), raw]
            return b"".join(kept)
        if not (kind == b"iTXt" and body.startswith(keyword.encode("latin-1") + b"\0")):
            kept.append(raw)
    raise ValueError("the PNG has no end")


def texts(data: bytes) -> dict[str, str]:
    """Every text of a PNG by keyword, of chunks tEXt, zTXt and iTXt; the last one of each.

    Raises ValueError where the bytes are no whole PNG, or a text is packed wrongly or too large.
    """
    found: dict[str, str] = {}
    for kind, body, _ in _chunks(data):
        keyword, _, rest = body.partition(b"\0")
        if kind == b"tEXt":
            found[keyword.decode("latin-1")] = rest.decode("latin-1")
        elif kind == b"zTXt" and rest[:1] == b"\0":
            found[keyword.decode("latin-1")] = _unpacked(rest[1:]).decode("latin-1")
        elif kind == b"iTXt" and len(rest) > 2:
            packed, content = rest[0], rest[2:].split(b"\0", 2)[-1]
            found[keyword.decode("latin-1")] = (_unpacked(content) if packed else content).decode()
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, body, whole chunk) of each chunk up to IEND."""
    if not is_png(data):
        raise ValueError("this is no PNG")
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        kind = data[at + 4 : at + 8]
        yield kind, data[at + 8 : end - 4], data[at:end]
        if kind == b"IEND":
            return
        at = end
    raise ValueError("the PNG is cut short")


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, _MAX_TEXT)
    except zlib.error as error:
        raise ValueError("a text of the PNG cannot be unpacked") from error
    if stream.unconsumed_tail:
        raise ValueError("a text of the PNG is too large")
    return text


def _itxt(keyword: str, text: str) -> bytes:
    return keyword.encode("latin-1") + b"\0\1\0\0\0" + zlib.compress(text.encode(), 9)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
