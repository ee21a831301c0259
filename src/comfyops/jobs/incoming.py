"""A file that comes in pieces and is hashed as it is written. A small one is written in one go."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from comfyops.jobs.kept import Kept, Measure
from comfyops.support.files import storage_error

_IN_MEMORY = 512 * 1024  # bytes that wait to be written


class Incoming:
    """Becomes the file at `path`, whose folder is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._measure = Measure()
        self._file: IO[bytes] | None = None
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()  # a thread may still be at it when nobody wants the file any more
        self._dropped = False

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Take all pieces in. Raises StorageError, and what the iterator raises."""
        size = 0
        async for piece in pieces:
            self._waiting.append(piece)
            size += len(piece)
            if size > _IN_MEMORY:
                await asyncio.to_thread(self._write_checked)
                size = 0

    def finish(self) -> Kept:
        """Bring all to disk. Raises OSError."""
        file = self._write()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        return self._measure.result()

    def drop(self) -> None:
        """Leave nothing of a file that is not finished."""
        with self._lock:
            self._dropped = True
            if self._file is not None:
                with contextlib.suppress(OSError):  # what was not written could not be
                    self._file.close()
                self.path.unlink(missing_ok=True)

    def _write_checked(self) -> None:
        try:
            self._write()
        except OSError as error:
            raise storage_error(error, self.path) from error

    def _write(self) -> IO[bytes]:
        with self._lock:
            if self._dropped:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("xb")
            pieces, self._waiting = self._waiting, []
            for piece in pieces:
                self._file.write(piece)
                self._measure.add(piece)
            return self._file
