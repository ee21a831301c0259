"""What a file is, by its first bytes and then by its name. Pure: no input or output.

A name is believed only for what has no mark of its own (texts, some 3D formats): a file that calls itself a picture and
is none is of no kind, so that nothing shows or runs it as what it is not.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from comfyops.backends.events import OutputKind
from comfyops.backends.outputs import kind_of

HEAD = 4096
"""How many first bytes are enough to tell."""

UNKNOWN = "application/octet-stream"

_I, _V, _A, _M = OutputKind.IMAGE, OutputKind.VIDEO, OutputKind.AUDIO, OutputKind.MODEL_3D


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The MIME type and the kind of a file."""

    mime: str
    kind: OutputKind


def sniff(head: bytes, name: str) -> Sniffed:
    """What a file of this name is that begins with these bytes (`HEAD` of them, or the whole of a shorter file)."""
    marked = _marked(head)
    if marked is not None:
        return marked
    kind = kind_of("", name)
    if kind is OutputKind.LATENT:
        good = b'"latent_tensor"' in head or b'"format_version"' in head or head[8:9] == b"{"
        return Sniffed(UNKNOWN, kind if good else OutputKind.OTHER)
    mime = _BY_NAME.get(name.rpartition(".")[2].lower()) or mimetypes.guess_type(name)[0]
    if mime is not None and mime.startswith(("image/", "video/", "audio/")) and mime != "image/svg+xml":
        return Sniffed(UNKNOWN, OutputKind.OTHER)
    if not _is_text(head):
        return Sniffed(mime or UNKNOWN, kind) if kind is _M else Sniffed(UNKNOWN, OutputKind.OTHER)
    if mime is None or kind is OutputKind.OTHER:
        kind = OutputKind.TEXT
    return Sniffed(mime or "text/plain", kind)


def _marked(head: bytes) -> Sniffed | None:
    """A file that says itself what it is."""
    for offset, mark, mime, kind in _MARKS:
        if head[offset : offset + len(mark)] == mark:
            return Sniffed(mime, kind)
    if head[:4] == b"RIFF":
        found = _RIFF.get(head[8:12])
        return Sniffed(*found) if found else None
    if head[4:8] == b"ftyp":
        return Sniffed(*_BRANDS.get(head[8:12].decode("latin-1").strip().lower(), ("video/mp4", _V)))
    if head[:4] == b"\x1aE\xdf\xa3":
        return Sniffed("video/webm" if b"webm" in head[:64] else "video/x-matroska", _V)
    if head[:4] == b"OggS":
        is_video = b"theora" in head[:128]
        return Sniffed("video/ogg", _V) if is_video else Sniffed("audio/ogg", _A)
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6) and head[1] & 0xE0 == 0xE0:
        return Sniffed("audio/mpeg", _A)
    return None


def _is_text(head: bytes) -> bool:
    """Whether bytes are text in UTF-8, as far as they go; the last character may be cut."""
    if b"\0" in head:
        return False
    for cut in range(min(4, len(head) + 1)):
        try:
            head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


_MARKS: tuple[tuple[int, bytes, str, OutputKind], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png", _I),
    (0, b"\xff\xd8\xff", "image/jpeg", _I),
    (0, b"GIF87a", "image/gif", _I),
    (0, b"GIF89a", "image/gif", _I),
    (0, b"BM", "image/bmp", _I),
    (0, b"II*\0", "image/tiff", _I),
    (0, b"MM\0*", "image/tiff", _I),
    (0, b"\x76\x2f\x31\x01", "image/x-exr", _I),
    (0, b"8BPS", "image/vnd.adobe.photoshop", _I),
    (0, b"#?RADIANCE", "image/vnd.radiance", _I),
    (0, b"fLaC", "audio/flac", _A),
    (0, b"ID3", "audio/mpeg", _A),
    (0, b"glTF", "model/gltf-binary", _M),
    (0, b"Kaydara FBX Binary", "application/octet-stream", _M),
    (0, b"ply\n", "application/octet-stream", _M),
    (0, b"ply\r\n", "application/octet-stream", _M),
    (0, b"\0\0\x01\xba", "video/mpeg", _V),
)
_RIFF = {b"WEBP": ("image/webp", _I), b"WAVE": ("audio/wav", _A), b"AVI ": ("video/x-msvideo", _V)}
_BRANDS = {
    "avif": ("image/avif", _I),
    "avis": ("image/avif", _I),
    "heic": ("image/heic", _I),
    "heix": ("image/heic", _I),
    "mif1": ("image/heif", _I),
    "m4a": ("audio/mp4", _A),
    "m4b": ("audio/mp4", _A),
    "qt": ("video/quicktime", _V),
}
_BY_NAME = {
    "gltf": "model/gltf+json",
    "json": "application/json",
    "md": "text/markdown",
    "obj": "model/obj",
    "srt": "application/x-subrip",
    "stl": "model/stl",
    "svg": "image/svg+xml",
    "usdz": "model/vnd.usdz+zip",
    "vtt": "text/vtt",
    "yaml": "application/yaml",
}
