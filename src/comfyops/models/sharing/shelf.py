"""What a machine shares: the model files of its folders whose SHA-256 is known, by hash and by name.

A file that was never hashed is read once, in the background, and shared after that. One that changed is no longer
shared until it was read anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from comfyops.models import stamps
from comfyops.models.inventory import scan
from comfyops.models.storage import Storage

LOOK_EVERY = 30.0
"""Seconds between two looks at the folders."""

_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Shared:
    """A file as it was when it was hashed: bytes, time of change (ns), inode."""

    path: Path
    sha256: str
    size: int
    mtime_ns: int
    inode: int

    def is_still(self, stat: os.stat_result) -> bool:
        """Whether the file is the one that was hashed."""
        return (stat.st_size, stat.st_mtime_ns, stat.st_ino) == (self.size, self.mtime_ns, self.inode)


@dataclass(frozen=True)
class _Index:
    by_hash: dict[str, Shared]
    by_name: dict[str, Shared]


class Shelf:
    """The files that are shared. `look` brings it up to date; what is asked meanwhile gets the last state."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._index = _Index({}, {})

    def __len__(self) -> int:
        return len(self._index.by_name)

    def by_hash(self, digest: str) -> Shared | None:
        """The file with these bytes, None where there is none."""
        return self._index.by_hash.get(digest)

    def by_name(self, name: str) -> Shared | None:
        """The file of a name such as "loras/a.safetensors", None where there is none."""
        return self._index.by_name.get(name)

    def look(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Look at the folders, and hash what was never hashed; each file is shared as soon as its hash is known."""
        known = stamps.load(self._storage.stamps)
        found = [(f"{item.folder}/{item.name}", Path(item.path)) for item in scan(self._storage.folders).files]
        shared = {name: item for name, path in found if (item := _known(path, known)) is not None}
        self._show(shared)
        for name, path in found:
            if stop():
                return
            if name not in shared and (hashed := _hashed(path, stop)) is not None:
                shared[name], stat = hashed
                known.remember(path, stat, shared[name].sha256)
                known.save()
                self._show(shared)

    def _show(self, shared: dict[str, Shared]) -> None:
        self._index = _Index({item.sha256: item for item in shared.values()}, dict(shared))


class Watch:
    """A thread that keeps a shelf up to date, between `with` and its end."""

    def __init__(self, shelf: Shelf, every: float = LOOK_EVERY) -> None:
        self._shelf, self._every = shelf, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shelf", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._shelf.look(self._stop.is_set)
            self._stop.wait(self._every)


def _known(path: Path, known: stamps.Stamps) -> Shared | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    digest = known.hash_of(path, stat)
    return None if digest is None else Shared(path, digest, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _hashed(path: Path, stop: Callable[[], bool]) -> tuple[Shared, os.stat_result] | None:
    """A file with its hash, and how it looked before it was read.

    None where it cannot be read or changes meanwhile, and where it is time to stop.
    """
    digest, buffer = sha256(), bytearray(_PIECE)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                digest.update(view[:count])
                if stop():
                    return None
        item = Shared(path, digest.hexdigest(), before.st_size, before.st_mtime_ns, before.st_ino)
        return (item, before) if item.is_still(path.stat()) else None
    except OSError:
        return None
