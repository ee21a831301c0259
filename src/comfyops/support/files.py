"""Files that are written whole or not at all, and names that stay in their folder.

A write goes to a temporary file on the same volume, is flushed to disk, then renamed: a crash at any line leaves the
old file or the new one, never a part.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from comfyops.errors import DiskFullError, MissingFileError, StorageError, UnsafeNameError

_WINDOWS_DEVICES = re.compile(r"(con|conin\$|conout\$|prn|aux|nul|(com|lpt)[\d¹²³])( *\..*| *)", re.IGNORECASE)
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})  # controls, marks that turn text around, halves of characters
_JOINERS = "\u200c\u200d"  # which some scripts need to be spelt
_MAX_NAME = 200  # bytes; file systems take 255, and callers add suffixes


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The file's bytes, at most `limit` of them.

    Raises MissingFileError with the reason in words.
    """
    try:
        with path.open("rb") as file:
            return file.read(-1 if limit is None else limit)
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read: {_reason(error)}.", path=str(path)) from error


def write_bytes(path: Path, data: bytes, *, flushed: bool = True) -> None:
    """Write the file whole or not at all, making its folder where needed; without `flushed` a power cut may undo it.

    Raises DiskFullError and StorageError.
    """
    with writing(path, flushed=flushed) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


@contextmanager
def writing(path: Path, *, private: bool = False, flushed: bool = True) -> Iterator[IO[bytes]]:
    """A file to write into; on leaving it is flushed to disk and takes the place of `path`, or is removed on an error.

    With `private` only its owner may read it; without `flushed` nobody waits for the disk. Raises DiskFullError and
    StorageError.
    """
    temporary: Path | None = None
    try:
        check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if flushed:
                os.fsync(file.fileno())
        temporary.chmod(0o600 if private else 0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """See that no device, pipe or socket would be replaced by a file. Raises StorageError, and OSError."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise StorageError(f"{path} is a device or a pipe, not a file.", hint="Name a file to write.", path=str(path))


def check_folder(folder: Path) -> None:
    """See that files could be written into a folder, which is not made yet.

    Raises StorageError where a file is in its place, or nothing may be written there.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise storage_error(error, folder) from error
    if not there.is_dir():
        raise StorageError(f"{there} is a file, not a folder to write into.", path=str(folder))
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"Nothing may be written into {there}.", path=str(folder))


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def storage_error(error: OSError, path: Path) -> StorageError:
    """The error of ours for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{path} cannot be written: no space is left on the disk.", path=str(path))
    if error.errno == errno.EFBIG:
        words = f"{path} cannot be written: its file system, or a limit of yours, takes no file so large."
        hint = "FAT32 takes 4 GiB a file: choose a folder on another disk."
        return StorageError(words, hint=hint, path=str(path))
    return StorageError(f"{path} cannot be written: {_reason(error)}.", path=str(path))


def safe_path(folder: Path, *parts: str) -> Path:
    """`folder` joined with names that came from elsewhere (a server, a file), which may hold "/" for subfolders.

    Raises UnsafeNameError for names that would leave the folder, or that some file system would not take.
    """
    path = folder
    for part in parts:
        for name in part.split("/"):
            if name:
                path = path / _checked(name, part)
    if path == folder:
        raise UnsafeNameError("A file without a name cannot be written.")
    shown = "/".join(parts)[:120]
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # the latter for links that lead in a circle
        raise UnsafeNameError(f"{shown!r} leads nowhere in {folder}: it is too long, or a link to itself.") from error
    if not inside:
        raise UnsafeNameError(f"{shown!r} would be written outside of {folder} through a link.")
    return path


def safe_name(name: str) -> str:
    """A name that came from elsewhere and stands for one file or folder.

    Raises UnsafeNameError for names that mean something else, or that some file system would not take.
    """
    return _checked(name, name)


def _checked(name: str, whole: str) -> str:
    bad = name in (".", "..") or "\\" in name or ":" in name or _hides(name)
    if bad or _WINDOWS_DEVICES.fullmatch(name) or name != name.strip(" ") or len(name.encode()) > _MAX_NAME:
        raise UnsafeNameError(f"The name {whole[:120]!r} is not safe as a file name.", name=whole)
    return name


def _hides(name: str) -> bool:
    """Whether a name holds characters that nobody sees, or that no file system takes."""
    return not name.isprintable() and any(
        unicodedata.category(char) in _UNSEEN and char not in _JOINERS for char in name
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _reason(error: OSError) -> str:
    reasons = {
        errno.ENOENT: "it does not exist",
        errno.EACCES: "permission is denied",
        errno.EISDIR: "it is a folder",
    }
    return reasons.get(error.errno or 0, (error.strerror or type(error).__name__).lower())
