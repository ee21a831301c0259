"""What a gateway forgets by itself, a few times a day: records, sessions and owners that are too old."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from comfyops.auth.audit_store import AuditStore
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.errors import ComfyOpsError, StorageError
from comfyops.gateway.owners import julian

log = logging.getLogger("comfyops.gateway")

_EVERY = 6 * 3600.0  # seconds between two rounds
_SLACK = 300.0  # seconds by which the use of a session may be noted late
_PIECE = 1000  # rows in one transaction, so that requests wait for it no longer than a moment


@dataclass(frozen=True)
class Upkeep:
    """Forgets by the settings of access; `owners` is the file of whose job and whose file it is."""

    store: Store
    audited: AuditStore
    owners: Path
    settings: AuthSettings

    async def forever(self) -> None:
        """One round now and every few hours, until cancelled. What cannot be done is logged, and tried again."""
        while True:
            try:
                await asyncio.to_thread(self.round)
            except ComfyOpsError as error:
                log.error("upkeep: %s: %s", error.code, error.message)
            await asyncio.sleep(_EVERY)

    def round(self) -> None:
        """Forget what is too old. It blocks.

        Raises StorageError, and AuditError where the record was tampered with: then nothing of it is dropped.
        """
        now = self.store.clock()
        self.store.sweep(self.settings.session_idle + _SLACK, self.settings.audit_keep)
        forget_owners(self.owners, now - self.settings.owners_keep)
        before = now - self.settings.audit_keep
        if self.audited.has_older(before):  # dropping verifies the whole chain, which takes long
            self.audited.prune(before, now)


def forget_owners(path: Path, before: float) -> int:
    """Forget jobs, and results of them, from before a time (seconds since the epoch); how many rows.

    Uploads stay their owners': a file in the input folder that nobody is known to own is everybody's. Raises
    StorageError.
    """
    moment = julian(before)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
            jobs = db.execute("SELECT id FROM jobs WHERE at < ?", (moment,)).fetchall()
            words = "SELECT owner, type, subfolder, name FROM files WHERE type != 'input' AND at < ?"
            files = db.execute(words, (moment,)).fetchall()
            _delete(db, "DELETE FROM jobs WHERE id = ?", jobs)
            _delete(db, "DELETE FROM files WHERE owner = ? AND type = ? AND subfolder = ? AND name = ?", files)
    except sqlite3.Error as error:
        raise StorageError(f"The record of owners cannot be used: {error}.") from error
    return len(jobs) + len(files)


def _delete(db: sqlite3.Connection, words: str, rows: list[tuple[str, ...]]) -> None:
    for start in range(0, len(rows), _PIECE):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(words, rows[start : start + _PIECE])
        db.execute("COMMIT")


@contextlib.asynccontextmanager
async def kept_up(upkeep: Upkeep) -> AsyncIterator[None]:
    """See to it while the block runs."""
    task = asyncio.get_running_loop().create_task(upkeep.forever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
