"""Files by their content: each is kept once, under its BLAKE3, and is there whole or not at all.

folder/objects/ab/abcd...   the bytes, never changed
folder/incoming/...         what is being written; swept when it is old
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

from comfyops.errors import MissingFileError
from comfyops.jobs.incoming import Incoming
from comfyops.jobs.kept import Kept, Measure
from comfyops.support.files import storage_error, sync_folder

_PIECE = 1024 * 1024
_OLD = 24 * 3600.0  # seconds after which a file that is being written counts as left behind


class Files:
    """The kept files of one folder. Several processes may use it at once, also over a network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where the file of this BLAKE3 is. Raises MissingFileError."""
        path = self._place(digest)
        if not path.is_file():
            raise MissingFileError(f"The file {digest[:16]}... is no longer kept.", hash=digest)
        return path

    def has(self, digest: str) -> bool:
        """Whether the file of this BLAKE3 is kept."""
        return self._place(digest).is_file()

    def incoming(self) -> Path:
        """A fresh path on the same volume, to write a file to that shall be kept."""
        return self._folder / "incoming" / uuid4().hex

    async def keep(self, path: Path) -> Kept:
        """Take a written file over; `path` is gone then. Raises StorageError."""
        return await asyncio.to_thread(self.take, path)

    async def copy(self, source: Path) -> Kept:
        """Keep a file that stays where it is. Raises StorageError."""
        path = self.incoming()
        try:
            await asyncio.to_thread(_copy, source, path)
            return await self.keep(path)
        finally:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what was left behind by writers that died."""
        folder = self._folder / "incoming"
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                if time.time() - path.stat().st_mtime > _OLD:
                    path.unlink()
            except OSError:
                continue  # another process was faster

    def remove(self, digest: str) -> None:
        """Keep a file no longer."""
        self._place(digest).unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise MissingFileError(f"{digest[:80]!r} is not the BLAKE3 of a file.", hash=digest)
        return self._folder / "objects" / digest[:2] / digest

    def take(self, path: Path) -> Kept:
        """As `keep`, for threads. Raises StorageError."""
        try:
            kept = _measured(path)
            self._put(path, kept)
        except OSError as error:
            raise storage_error(error, path) from error
        return kept

    def receive(self, incoming: Incoming) -> Kept:
        """Keep what has come, for threads. Raises StorageError."""
        try:
            kept = incoming.finish()
            self._put(incoming.path, kept)
        except OSError as error:
            raise storage_error(error, incoming.path) from error
        return kept

    def _put(self, path: Path, kept: Kept) -> None:
        target = self._place(kept.hash)
        if target.is_file() and target.stat().st_size == kept.size:
            path.unlink()
            os.utime(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            sync_folder(target.parent)


def _measured(path: Path) -> Kept:
    measure = Measure()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            measure.add(piece)
        os.fsync(file.fileno())
    return measure.result()


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise storage_error(error, target) from error
