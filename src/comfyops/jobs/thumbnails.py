"""Small pictures of kept files: of pictures, and of the first frame of videos where PyAV is installed.

A file may be made to harm whoever opens it, so only known formats are opened, none that names other files, and none
with more pixels than a real one has. A file without a thumbnail is nothing to complain about.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from comfyops.errors import StorageError
from comfyops.jobs.files import Files
from comfyops.support.files import write_bytes

EDGE = 320
"""Pixels of the longer side."""

MOST_PIXELS = 80_000_000
"""Pictures with more are not opened; Pillow itself warns at about the same."""

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
_CONTAINERS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "matroska",
    "video/x-msvideo": "avi",
}
_MOST_PACKETS = 500  # that are read for one frame
_log = logging.getLogger(__name__)


class Thumbnails:
    """The thumbnails of kept files, below `folder`, by the BLAKE3 of the file."""

    def __init__(self, folder: Path, files: Files, at_once: int = 2) -> None:
        self._folder = folder
        self._files = files
        self._gate = threading.BoundedSemaphore(at_once)

    def path(self, digest: str) -> Path | None:
        """Where the thumbnail of a file is, None where it has none. Raises MissingFileError for what is no digest."""
        path = self._place(digest)
        try:
            return path if path.stat().st_size else None  # what a power cut left empty is made again
        except OSError:
            return None

    async def make(self, digest: str, mime: str) -> Path | None:
        """Make the thumbnail of a kept file, unless it is there; None where there is none of such a file.

        Raises MissingFileError where the file is not kept.
        """
        return await asyncio.to_thread(self.make_here, digest, mime)

    def make_here(self, digest: str, mime: str) -> Path | None:
        """As `make`, in this thread."""
        there = self.path(digest)
        if there is not None:
            return there
        source = self._files.path(digest)
        with self._gate:
            return self._make(source, mime, self._place(digest))

    def _make(self, source: Path, mime: str, place: Path) -> Path | None:
        data = thumbnail(source, mime)
        if data is None:
            return None
        try:
            write_bytes(place, data, flushed=False)  # it can be made again
        except StorageError as error:
            _log.warning("no thumbnail of %s: %s", source.name[:16], error.message)
            return None
        return place

    def remove(self, digest: str) -> None:
        """Forget the thumbnail of a file."""
        self._place(digest).unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        self._files.has(digest)  # raises for what is no digest
        return self._folder / digest[:2] / f"{digest}.webp"


def thumbnail(path: Path, mime: str, edge: int = EDGE) -> bytes | None:
    """A WebP picture of a file, its longer side at most `edge` pixels; None where it cannot be shown so."""
    try:
        if mime in _CONTAINERS:
            picture = _first_frame(path, _CONTAINERS[mime])
        elif mime.startswith("image/"):
            picture = _picture(path, edge)
        else:
            return None
        return None if picture is None else _encoded(picture, edge)
    except (OSError, ValueError, SyntaxError, MemoryError, Warning, Image.DecompressionBombError, EOFError) as error:
        _log.info("no thumbnail of %s: %s", path.name[:16], error)
        return None


def _picture(path: Path, edge: int) -> Image.Image | None:
    with Image.open(path, formats=_formats()) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            return None
        opened.draft("RGB", (edge * 2, edge * 2))  # a large JPEG is decoded small
        opened.load()
        return ImageOps.exif_transpose(opened)


@cache
def _formats() -> tuple[str, ...]:
    """Those that this build of Pillow knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _first_frame(path: Path, container: str) -> Image.Image | None:
    av = _pyav()
    if av is None:
        return None
    try:
        with av.open(str(path), format=container) as source:
            stream = next(iter(source.streams.video), None)
            if stream is None or stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
                return None
            for count, packet in enumerate(source.demux(stream)):
                for frame in packet.decode():
                    picture: Image.Image = frame.to_image()
                    return picture
                if count >= _MOST_PACKETS:
                    return None
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error
    return None


def _encoded(picture: Image.Image, edge: int) -> bytes:
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    if picture.mode.startswith(("I", "F")):
        picture = picture.convert("L")
    small = picture.convert(mode)
    small.thumbnail((edge, edge), reducing_gap=2.0)
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def _pyav() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        return None
    return av
