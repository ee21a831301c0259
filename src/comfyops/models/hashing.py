"""Many files read and hashed, several at once: told how far it is, and stoppable at any time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from comfyops.models.stamps import Stamps
from comfyops.models.transfer.pacing import RateLimit
from comfyops.support.threads import Thread

_PIECE = 1 << 20
_TELL_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class HashProgress:
    """How far reading is: files that are done and bytes that were read, of all."""

    files: int
    of_files: int
    read_bytes: int
    of_bytes: int


Listener = Callable[[HashProgress], None]


def hash_file(path: Path) -> tuple[str, os.stat_result]:
    """A file's SHA-256, and how it looked before it was read.

    Raises OSError.
    """
    found = _read(path, memoryview(bytearray(_PIECE)), lambda count: True)
    assert found is not None
    return found


def hash_files(
    paths: Iterable[Path],
    stamps: Stamps,
    threads: int | None = None,
    on_progress: Listener | None = None,
    rate: int | None = None,
) -> dict[Path, str | None]:
    """The hashes of many files, remembered as they come; None for one that cannot be read. `rate`: bytes a second.

    `on_progress` is called from the caller's thread, a few times a second. Where the caller is interrupted (Ctrl-C, or
    the listener raises), the reading ends at once; what was hashed until then is remembered.
    """
    work = _Hashing(dict.fromkeys(paths), stamps, threads or max(2, os.cpu_count() or 2), RateLimit(rate))
    return work.run(on_progress)


class _Hashing:
    """Threads that take the largest file that is left, so that none has much to do when the others have ended."""

    def __init__(self, paths: Iterable[Path], stamps: Stamps, threads: int, limit: RateLimit) -> None:
        sizes = sorted(((_size(path), path) for path in paths), key=lambda item: item[0], reverse=True)
        self._stamps = stamps
        self._limit = limit
        self._left = deque(path for _, path in sizes)
        self._all = sum(size for size, _ in sizes)
        self._count = len(sizes)
        self._read = [0] * min(threads, max(1, self._count))
        self._found: dict[Path, str | None] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self, on_progress: Listener | None) -> dict[Path, str | None]:
        """Hash them all."""
        threads = [Thread(self._worker, n) for n in range(len(self._read))]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_TELL_EVERY)
                    if on_progress is not None:
                        on_progress(self._progress())
            if on_progress is not None:
                on_progress(self._progress())  # also where all were done before anybody looked
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        return self._found

    def _progress(self) -> HashProgress:
        return HashProgress(len(self._found), self._count, sum(self._read), self._all)

    def _worker(self, number: int) -> None:
        view = memoryview(bytearray(_PIECE))

        def goes_on(count: int) -> bool:
            self._read[number] += count
            return not self._stop.wait(self._limit.spend(count))

        while not self._stop.is_set():
            try:
                path = self._left.popleft()
            except IndexError:
                return
            self._one(path, view, goes_on)

    def _one(self, path: Path, view: memoryview, goes_on: Callable[[int], bool]) -> None:
        try:
            found = _read(path, view, goes_on)
        except OSError:
            self._found[path] = None
            return
        if found is not None:
            with self._lock:
                self._stamps.remember(path, found[1], found[0])
                self._found[path] = found[0]


def _read(path: Path, view: memoryview, goes_on: Callable[[int], bool]) -> tuple[str, os.stat_result] | None:
    """Hash a file; None where it was told not to go on."""
    digest = sha256()
    with path.open("rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        while count := file.readinto(view):
            digest.update(view[:count])
            if not goes_on(count):
                return None
    return digest.hexdigest(), before


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
