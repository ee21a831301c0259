"""A file while it is being fetched: its bytes at their final offsets, and the journal beside it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from comfyops.models.transfer import journal
from comfyops.models.transfer.answers import same_etag
from comfyops.models.transfer.journal import Journal
from comfyops.models.transfer.ranges import Range, merged, total
from comfyops.models.transfer.request import MIB

SAVE_EVERY = 0.4  # seconds; what a killed process has to fetch again
_SYNC_EVERY = 0.5  # seconds; what a power cut costs, or
_SYNC_BYTES = 64 * MIB  # where they come faster; but not more often than once in
_SYNC_PAUSE = 0.25  # seconds
_LONGEST_NAME = 180


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a download lie, all beside the target."""

    part: Path
    journal: Path
    lock: Path


def places(target: Path, identity: str) -> Places:
    """The names of the partial file, its journal and its lock; `identity` is the SHA-256 or an address."""
    short = identity[:8] if len(identity) == 64 else hashlib.sha256(identity.encode()).hexdigest()[:8]
    part = target.with_name(f"{_stem(target)}.{short}.part")
    return Places(part, part.with_name(part.name + ".json"), target.with_name(f"{_stem(target)}.lock"))


def leftovers(target: Path) -> list[Path]:
    """Partial files and journals of this target, of whatever version."""
    stem = _stem(target)
    try:
        names = [entry.name for entry in os.scandir(target.parent)]
    except OSError:
        return []
    found = []
    for name in names:
        head, _, tail = name.removeprefix(f"{stem}.").partition(".")
        if name.startswith(f"{stem}.") and len(head) == 8 and tail in ("part", "part.json", "part.json.new"):
            found.append(target.with_name(name))
    return found


def _stem(target: Path) -> str:
    name = target.name
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:40]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f".{name}"


class Partial:
    """The open partial file. Threads write different ranges at once; one thread saves the journal."""

    def __init__(self, where: Places, state: Journal) -> None:
        self.path = where.part
        self._journal = where.journal
        self._state = state
        self._handle = os.open(where.part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._saving = threading.Lock()
        self._seeking = threading.Lock()
        self._saved_at = time.monotonic()
        self._synced_at = time.monotonic()
        self._synced_bytes = total(state.synced)
        self._syncer: threading.Thread | None = None

    @classmethod
    def open(
        cls, where: Places, identity: str, size: int, source: str, etag: str | None, *, confirmed: bool = False
    ) -> tuple[Partial, list[Range]]:
        """The partial file, made or found again, and the ranges of it that can be relied on.

        What was fetched before counts where it was the same file: of the same SHA-256, or of the same address and ETag.
        The bytes to come must carry the ETag of that time, unless the source has just `confirmed` the SHA-256.
        Raises OSError.
        """
        if where.part.is_symlink():
            where.part.unlink()  # not made by us: its bytes would land elsewhere
        boot = journal.boot_id()
        old = journal.load(where.journal)
        written = old.usable(boot) if old is not None and _continues(old, identity, size, source, etag) else []
        try:
            there = where.part.stat().st_size
        except FileNotFoundError:
            there = 0
        written = [item for item in written if item[1] <= there]
        kept = old.etag if old is not None and written and old.source == source and not confirmed else etag
        known = tuple(written)
        partial = cls(where, Journal(identity, size, source, kept or etag, boot, known, known))
        partial._prepare(size)
        return partial, written

    @property
    def etag(self) -> str | None:
        """The ETag of the bytes that are there."""
        return self._state.etag

    def learn_etag(self, etag: str | None) -> None:
        """Remember the ETag that the first answer carried."""
        with self._saving:
            self._state = replace(self._state, etag=etag)

    def _prepare(self, size: int) -> None:
        """Reserve the space, so that a full disk shows now. Raises OSError."""
        try:
            reserve(self._handle, size)
            os.ftruncate(self._handle, size)
        except OSError:
            if self._state.written:
                self.close()
            else:
                self.discard()
            raise

    def write(self, offset: int, data: memoryview) -> None:
        """Put bytes at their place. Raises OSError."""
        while data:
            count = self._write_at(offset, data)
            offset, data = offset + count, data[count:]

    if hasattr(os, "pwrite"):

        def _write_at(self, offset: int, data: memoryview) -> int:
            return os.pwrite(self._handle, data, offset)

    else:

        def _write_at(self, offset: int, data: memoryview) -> int:
            with self._seeking:
                os.lseek(self._handle, offset, os.SEEK_SET)
                return os.write(self._handle, data)

    def save_when_due(self, written: Callable[[], list[Range]]) -> None:
        """Save the journal about twice a second, and let the disk catch up now and then."""
        now = time.monotonic()
        if now - self._saved_at < SAVE_EVERY:
            return
        ranges = written()
        self.save(ranges)
        fresh = total(ranges) - self._synced_bytes
        waited = now - self._synced_at
        due = (fresh > _SYNC_BYTES and waited > _SYNC_PAUSE) or (fresh and waited > _SYNC_EVERY)
        if due and (self._syncer is None or not self._syncer.is_alive()):
            self._syncer = threading.Thread(target=self._sync, args=(ranges,), name="sync", daemon=True)
            self._syncer.start()

    def save(self, written: list[Range]) -> None:
        """Save the journal now; where the disk refuses, the one before stays valid."""
        with self._saving:
            self._state = replace(self._state, written=tuple(written))
            journal.save(self._journal, self._state)
            self._saved_at = time.monotonic()

    def _sync(self, ranges: list[Range]) -> None:
        """Flush what was written to the disk, then claim it for the case of a power cut."""
        try:
            getattr(os, "fdatasync", os.fsync)(self._handle)
        except OSError:
            return
        with self._saving:
            written = tuple(merged([*self._state.written, *ranges]))
            self._state = replace(self._state, written=written, synced=tuple(ranges))
            journal.save(self._journal, self._state, durable=True)
            self._synced_at, self._synced_bytes = time.monotonic(), total(ranges)

    def flush(self) -> None:
        """Everything is on the disk when this returns. Raises OSError."""
        if self._syncer is not None:
            self._syncer.join()
        os.fsync(self._handle)

    def discard(self) -> None:
        """Forget it: the partial file and its journal are removed, where the disk lets us."""
        self.close()
        for path in (self.path, self._journal):
            with suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Close the file; it stays for the next time."""
        if self._syncer is not None:
            self._syncer.join()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _continues(old: Journal, identity: str, size: int, source: str, etag: str | None) -> bool:
    """Whether a journal is of the file that is wanted now."""
    if old.identity != identity or old.size != size:
        return False
    if len(identity) == 64:
        return True
    return old.source == source and old.etag is not None and same_etag(etag, old.etag)


def reserve(handle: int, size: int) -> None:
    """Reserve disk space where the file system does so at once; elsewhere nothing happens. Raises OSError."""
    if not size or not sys.platform.startswith("linux"):
        return
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if call is None:
        return
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(handle, 0, 0, size) != 0 and ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
