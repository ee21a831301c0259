"""Files that one process at a time may hold. The operating system frees the lock of a process that was killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comfyops.errors import StorageError
from comfyops.support.files import storage_error

POLL = 0.05
"""Seconds between two looks at a lock that somebody else holds."""


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
        time.sleep(POLL)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps the file while it is open
            path.unlink()
        os.close(handle)


def opened(path: Path, mode: int = 0o600) -> int:
    """The handle of a lock file, which is made where there is none. Raises StorageError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), mode)
    except OSError as error:
        raise storage_error(error, path) from error


def _attempt(path: Path) -> int | None:
    """The handle of the lock file where nobody else holds it."""
    handle = opened(path, 0o666)
    if seized(handle) and _same(handle, path):
        return handle
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

    def seized(handle: int) -> bool:
        """Whether the open file is ours from now until it is closed; False while somebody else holds it."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            return True  # this file system knows no locks
        return True

else:
    import fcntl

    def seized(handle: int) -> bool:
        """Whether the open file is ours from now until it is closed; False while somebody else holds it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # this file system knows no locks
        return True
