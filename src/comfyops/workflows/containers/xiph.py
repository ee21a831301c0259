"""Texts in FLAC and in Ogg (Opus, Vorbis): Vorbis comments. Source: RFC 9639, RFC 3533 and RFC 7845."""

from __future__ import annotations

_COMMENTS = 4  # the FLAC block type
_MAX_PACKET = 256 * 1024 * 1024


def is_flac(data: bytes) -> bool:
    """Whether the bytes begin as a FLAC file, after an ID3 tag or not."""
    return _after_id3(data)[:4] == b"fLaC"


def is_ogg(data: bytes) -> bool:
    """Whether the bytes begin as an Ogg file."""
    return data[:4] == b"OggS"


def flac_texts(data: bytes) -> dict[str, str]:
    """The comments of a FLAC file by key.

    Raises ValueError where they are cut short.
    """
    data = _after_id3(data)
    at = 4
    while at + 4 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        if kind & 0x7F == _COMMENTS:
            return _comments(data[at + 4 : at + 4 + size])
        if kind & 0x80:
            return {}
        at += 4 + size
    raise ValueError("the file is cut short")


def ogg_texts(data: bytes) -> dict[str, str]:
    """The comments of the first stream of an Ogg file by key.

    Raises ValueError where they are cut short.
    """
    packet = _second_packet(data)
    for magic in (b"OpusTags", b"\x03vorbis"):
        if packet.startswith(magic):
            return _comments(packet[len(magic) :])
    return {}


def _second_packet(data: bytes) -> bytes:
    """The second packet of the first stream, put together from its pages."""
    serial, number, at = data[14:18], 0, 0
    parts: list[bytes] = []
    while at + 27 <= len(data) and data[at : at + 4] == b"OggS":
        lengths = data[at + 27 : at + 27 + data[at + 26]]
        body = at + 27 + len(lengths)
        if data[at + 14 : at + 18] == serial:
            place = body
            for length in lengths:
                if number == 1:
                    parts.append(data[place : place + length])
                place += length
                if length < 255:
                    if number == 1:
                        return b"".join(parts)
                    number += 1
        at = body + sum(lengths)
    raise ValueError("the file is cut short")


def _comments(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 4 + int.from_bytes(block[:4], "little")
    count = int.from_bytes(block[at : at + 4], "little")
    at += 4
    for _ in range(count):
        size = int.from_bytes(block[at : at + 4], "little")
        if at + 4 + size > len(block):
            raise ValueError("its comments are cut short")
        key, equals, value = block[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        if equals:
            found.setdefault(key.lower(), value)
        at += 4 + size
    return found


def _after_id3(data: bytes) -> bytes:
    if data[:3] != b"ID3" or len(data) < 10:
        return data[:_MAX_PACKET]
    size = (data[6] & 127) << 21 | (data[7] & 127) << 14 | (data[8] & 127) << 7 | data[9] & 127
    return data[10 + size :]
