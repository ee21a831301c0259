"""One process at a time works on a file. The operating system frees the lock of a process that was killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comfyops.errors import StorageError
from comfyops.support.files import storage_error

_POLL = 0.05


@contextmanager
def locked(
    path: Path, timeout: float, cancelled: Callable[[], None] = lambda: None, *, work: str = "download"
) -> Iterator[None]:
    """Hold the lock file while the block runs, doing this `work`; it is removed at the end.

    Waits while another process (or thread) holds it, asking `cancelled`, which raises to end the wait. A file system
    without locks gives none: what two processes write into one partial file is the same, and is hashed in the end.
    Raises StorageError after `timeout` seconds, or where the folder cannot be written.
    """
    until = time.monotonic() + timeout
    while (handle := _attempt(path)) is None:
        cancelled()
        if time.monotonic() > until:
            raise StorageError(f"{path.parent} is in use by another {work} for more than {timeout:.0f} s.")
        time.sleep(_POLL)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps the file while it is open
            path.unlink()
        os.close(handle)


def _attempt(path: Path) -> int | None:
    """The handle of the lock file where nobody else holds it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        if _seize(handle) and _same(handle, path):
            return handle
    except OSError:
        return handle  # this file system knows no locks
    os.close(handle)
    return None


def _same(handle: int, path: Path) -> bool:
    """Whether the file that was opened is still the one of that name: its last holder removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


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
