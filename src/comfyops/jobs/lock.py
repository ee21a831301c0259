"""A file that one process at a time may hold. It is let go by the system when its holder dies."""

from __future__ import annotations

import os
from pathlib import Path

from comfyops.errors import DispatcherTakenError
from comfyops.support import locks
from comfyops.support.files import storage_error


class FileLock:
    """Held from `take` to `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Hold the file. Raises DispatcherTakenError while another process does, StorageError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self._path) from error
        handle = locks.opened(self._path)
        if not locks.seized(handle):
            os.close(handle)
            raise DispatcherTakenError(
                f"Another process carries out the jobs of {self._path.parent}: SQLite is for one.", path=str(self._path)
            )
        self._handle = handle

    def release(self) -> None:
        """Let the file go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
