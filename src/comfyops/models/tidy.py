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

QUARANTINE = ".comfyops-quarantine"

_PART = re.compile(r"\..+\.([0-9a-z_]{8}\.part(\.json(\.new)?)?|\d+\.link)")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder to remove: bytes, and seconds since it was changed."""

    path: str
    size: int
    age: float


@dataclass(frozen=True)
class Prune:
    """What would be removed, and what is too young for it."""

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
    """The leftovers in all folders; those changed within `older_than` seconds are kept."""
    moment = time.time() if now is None else now
    found = [_leftover(path, moment) for root in storage.roots() for path in _walk(root)]
    unique = {item.path: item for item in found}.values()
    old = tuple(item for item in unique if item.age >= older_than)
    return Prune(old, tuple(item for item in unique if item.age < older_than))


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if QUARANTINE in folders:
            folders.remove(QUARANTINE)
            yield Path(folder) / QUARANTINE
        yield from (Path(folder) / name for name in names if _PART.fullmatch(name))


def _leftover(path: Path, now: float) -> Leftover:
    files = [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    stats = [item.stat() for item in files]
    newest = max((stat.st_mtime for stat in stats), default=path.stat().st_mtime)
    return Leftover(str(path), sum(stat.st_size for stat in stats), max(0.0, now - newest))
