"""A file that one process at a time may hold. It is let go by the system when its holder dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from comfyops.errors import DispatcherTakenError, StorageError


class FileLock:
    """Held from `take` to `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Hold the file. Raises DispatcherTakenError while another process does, StorageError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}.", path=str(self._path)) from error
        if not _seize(handle):
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


if sys.platform == "win32":
    import msvcrt

    def _seize(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _seize(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
