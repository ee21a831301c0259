"""What downloads left behind: partial files nobody goes on with, and quarantined bytes. Planned first, then removed."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyops.errors import StorageError
from comfyops.models.storage import Storage
from comfyops.support.locks import locked

QUARANTINE = ".comfyops-quarantine"

_PART = re.compile(r"(\..+)\.([0-9a-z_]{8}\.part(\.json(\.new)?)?|\d+\.link)")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder to remove: bytes, and seconds since it was changed."""

    path: str
    size: int
    age: float


@dataclass(frozen=True)
class Prune:
    """What would be removed, and what is too young for it, or being written."""

    remove: tuple[Leftover, ...]
    kept: tuple[Leftover, ...] = ()

    @property
    def total(self) -> int:
        """Bytes that come free."""
        return sum(item.size for item in self.remove)

    def execute(self) -> None:
        """Remove it. Raises StorageError for the first thing that cannot be removed."""
        for item in self.remove:
            path = Path(item.path)
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{path} cannot be removed: {error.strerror}.", path=str(path)) from error


def plan(storage: Storage, older_than: float, now: float | None = None) -> Prune:
    """The leftovers in all folders; those changed within `older_than` seconds, or being written now, are kept."""
    moment = time.time() if now is None else now
    found = [_leftover(path, moment) for root in storage.roots() for path in _walk(root)]
    unique = {item.path: item for item in found if item is not None}.values()
    old = [item for item in unique if item.age >= older_than and not _in_use(Path(item.path))]
    return Prune(tuple(old), tuple(item for item in unique if item not in old))


def _in_use(path: Path) -> bool:
    """Whether a download, of this process or another, holds the lock of a partial file."""
    part = _PART.fullmatch(path.name)
    lock = path.with_name(f"{part[1]}.lock") if part else None
    if lock is None or not lock.exists():
        return False
    try:
        with locked(lock, 0.0):
            return False
    except StorageError:
        return True


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if QUARANTINE in folders:
            folders.remove(QUARANTINE)
            yield Path(folder) / QUARANTINE
        yield from (Path(folder) / name for name in names if _PART.fullmatch(name))


def _leftover(path: Path, now: float) -> Leftover | None:
    """What a leftover takes; None where it is gone meanwhile. Links count as what they are, not as what they name."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    try:
        own = path.lstat()
        stats = [item.lstat() for item in inside if item.is_symlink() or item.is_file()] or [own]
    except OSError:
        return None
    newest = max(stat.st_mtime for stat in stats)
    return Leftover(str(path), sum(stat.st_size for stat in stats), max(0.0, now - newest))
