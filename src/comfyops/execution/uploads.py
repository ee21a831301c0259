"""Pictures that a graph loads: hashed, checked, and put on the server once each."""

from __future__ import annotations

import asyncio
import hashlib
import re
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from comfyops.backends.backend import Backend
from comfyops.errors import StoryboardError
from comfyops.support.files import read_bytes

SUBFOLDER = "comfyops"
"""Folder for our uploads in the server's input folder."""


class Uploads:
    """The uploads of one run. A picture's name on the server holds its hash, so that the same bytes are one file."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._names: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def name_of(self, path: Path) -> str:
        """The server's name for a local picture, which is uploaded where it has not been yet.

        Raises MissingFileError, StoryboardError for a file that is no picture, BackendErrors.
        """
        async with self._lock:
            data = await asyncio.to_thread(_picture, path)
            digest = hashlib.sha256(data).hexdigest()
            if digest not in self._names:
                name = server_name(path, digest)
                self._names[digest] = await self._backend.upload_image(name, data, subfolder=SUBFOLDER)
            return self._names[digest]


def sha256_of(path: Path) -> str:
    """A file's SHA-256. Raises MissingFileError."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def server_name(path: Path, digest: str) -> str:
    """The name to upload a picture under."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-")[:40] or "picture"
    return f"{stem}-{digest[:16]}{path.suffix.lower()}"


def _picture(path: Path) -> bytes:
    data = read_bytes(path)
    try:
        with Image.open(BytesIO(data)) as image:
            image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise StoryboardError(
            f"{path} is no picture that can be read.", hint="Use a PNG, JPEG or WebP file."
        ) from error
    return data
