"""Files that only their owner may read, written whole or not at all.

A write goes to a temporary file of mode 0600 beside the place, is flushed, given its permissions, then renamed: a crash
at any line leaves the old file or the new one, and at no moment one that others can read.
"""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from comfyops.auth.secrets.model import Actual
from comfyops.errors import StorageError
from comfyops.support import locks
from comfyops.support.files import check_replaceable, storage_error, sync_folder

FOLDER_MODE = 0o700
_POSIX = os.name == "posix"
_MOST = 8 * 1024 * 1024  # bytes of a target; a larger file is something else


def look(path: Path) -> Actual:
    """A file as it is now.

    Raises StorageError where it cannot be read, or is no file.
    """
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is no file.", path=str(path))
        with path.open("rb") as file:
            data, found = file.read(_MOST + 1), os.fstat(file.fileno())
    except FileNotFoundError:
        return Actual()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {(error.strerror or 'no reason').lower()}.", path=str(path)
        ) from error
    if len(data) > _MOST:
        raise StorageError(f"{path} is too large for a file of secrets.", path=str(path))
    return Actual(data, found.st_mode & 0o777 if _POSIX else None)


def is_there(path: Path) -> bool:
    """Whether there is something that we can see."""
    try:
        return path.exists()
    except OSError:
        return False


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file with these permissions; a link stays one, an owner that we may set is kept.

    Raises DiskFullError and StorageError.
    """
    with staged([(path, data, mode)]) as put:
        put()


@contextmanager
def staged(files: Iterable[tuple[Path, bytes, int]]) -> Iterator[Callable[[], None]]:
    """Write files beside their places; what it gives puts all of them there, by renaming alone.

    So a folder that cannot be written, or a full disk, is found out before anything has changed. Raises DiskFullError
    and StorageError.
    """
    made: list[_Staged] = []
    try:
        for path, data, mode in files:
            with _translated(path):
                made.append(_Staged(path, *_temporary(Path(os.path.realpath(path)))))
                made[-1].fill(data, mode)

        def put() -> None:
            for item in made:
                item.put()

        yield put
    finally:
        for item in made:
            item.temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what a killed process has left beside a file: it holds secrets. Only for who holds the lock."""
    real = Path(os.path.realpath(path))
    with suppress(OSError):
        for left in real.parent.glob(f".{glob.escape(real.name[:80])}.*.part"):
            left.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Staged:
    """A file that was asked for at `path`, is to be at `real`, and lies at `temporary` meanwhile."""

    path: Path
    real: Path
    temporary: Path
    handle: int

    def fill(self, data: bytes, mode: int) -> None:
        """Write it whole."""
        with os.fdopen(self.handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _keep_owner(self.real, self.temporary)
        self.temporary.chmod(mode)

    def put(self) -> None:
        """Put it in its place."""
        with _translated(self.path):
            self.temporary.replace(self.real)
            sync_folder(self.real.parent)


def _temporary(real: Path) -> tuple[Path, Path, int]:
    """The place, and an empty file of mode 0600 beside it, which is open."""
    check_replaceable(real)
    if is_mount_point(real, _mounts()):
        words = f"{real} is mounted by itself, so that it cannot be replaced."
        raise StorageError(words, hint="Mount its folder in its place, or change it on the host.", path=str(real))
    real.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    handle, name = tempfile.mkstemp(prefix=f".{real.name[:80]}.", suffix=".part", dir=real.parent)
    return real, Path(name), handle


def is_mount_point(path: Path, table: bytes) -> bool:
    """Whether a file is one that is mounted alone, as containers do, by the kernel's table of mounts."""
    name = os.fsencode(path)
    for char in b"\\ \t\n":  # written in octal digits there, the backslash first
        name = name.replace(bytes([char]), b"\\%03o" % char)
    return any(line.split(b" ", 5)[4:5] == [name] for line in table.splitlines())


def _mounts() -> bytes:
    """The kernel's table of mounts; empty where there is none."""
    try:
        return Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return b""


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(folder: Path, *, ours: bool = True) -> None:
    """Make a folder that only its owner may enter; an existing one is made so where it is `ours`.

    Raises StorageError.
    """
    with _translated(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if ours and is_open(folder):
            folder.chmod(FOLDER_MODE)


def is_open(path: Path) -> bool:
    """Whether others than the owner may do anything with a file or folder; never so on Windows."""
    try:
        return _POSIX and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


@contextmanager
def locked(folder: Path, timeout: float = 10.0) -> Iterator[None]:
    """Let one process at a time change the secrets of a folder, which has to be there.

    The operating system frees the lock of a process that was killed. Raises StorageError after `timeout` seconds.
    """
    handle = locks.opened(folder / ".comfyops.lock")
    until = time.monotonic() + timeout
    try:
        while not locks.seized(handle):
            if time.monotonic() > until:
                raise StorageError("Another command is changing these secrets.", hint="Wait for it to end.")
            time.sleep(locks.POLL)
        yield
    finally:
        os.close(handle)


def _keep_owner(real: Path, temporary: Path) -> None:
    """Give the new file the owner of the old one, where we are somebody who may (root)."""
    if not _POSIX:
        return
    with suppress(OSError):
        old, new = real.stat(), temporary.stat()
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.chown(temporary, old.st_uid, old.st_gid)
