"""Whose job and whose file: remembered on disk, so that a restart gives nobody another's pictures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from comfyops.backends.outputs import ECHOED
from comfyops.errors import StorageError

_CLAIMS = 2000  # jobs between two checkpoints
_LARGEST_LOG = 64 * 1024 * 1024  # bytes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, backend TEXT NOT NULL, at REAL NOT NULL,
    indexed INTEGER NOT NULL DEFAULT 0 CHECK (indexed IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, indexed);
CREATE TABLE IF NOT EXISTS files (
    owner TEXT NOT NULL, type TEXT NOT NULL, subfolder TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (owner, type, subfolder, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_name ON files (type, subfolder, name);
"""


_ADD = "INSERT OR IGNORE INTO files (owner, type, subfolder, name, at) VALUES (?, ?, ?, ?, ?)"
_CLAIM = "INSERT OR IGNORE INTO jobs (id, owner, backend, at) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a server, as its answers name it."""

    type: str
    subfolder: str
    name: str


@dataclass(frozen=True, slots=True)
class _Claim:
    row: tuple[str, str, str, float]
    made: asyncio.Future[bool]


@lru_cache(maxsize=4096)
def space(owner: str) -> str:
    """A short name for an owner that is safe in ids and folders."""
    return "u" + hashlib.sha256(owner.encode()).hexdigest()[:16]


def julian(seconds: float) -> float:
    """A time (seconds since the epoch) as a Julian day, which is how SQLite counts time."""
    return seconds / 86400 + 2440587.5


def resolved(path: str) -> str | None:
    """A relative path without detours, "" for the folder itself; None for one that leads out of it."""
    if "\0" in path:
        return None
    names: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            if not names:
                return None
            names.pop()
        elif part not in ("", "."):
            names.append(part)
    return "/".join(names)


def files_in(outputs: object) -> Iterable[File]:
    """The files that the outputs of a job name, by node. What nodes repeat of their inputs is none: who sends a job
    could name the files of others there."""
    for shown in outputs.values() if isinstance(outputs, Mapping) else ():
        for key, items in shown.items() if isinstance(shown, Mapping) else ():
            if key in ECHOED or not isinstance(items, list):
                continue
            for item in items:
                file = _file(item) if isinstance(item, Mapping) else None
                if file is not None:
                    yield file


def _file(value: Mapping[Any, Any]) -> File | None:
    name, kind, subfolder = value.get("filename"), value.get("type"), value.get("subfolder", "")
    if not (isinstance(name, str) and isinstance(kind, str) and isinstance(subfolder, str)):
        return None
    folder = resolved(subfolder)
    return None if folder is None else File(kind, folder, name)


class Owners:
    """The table of jobs and files. Answers take microseconds, so it is asked from the event loop.

    What was claimed survives the end of the process at once (it is in the write-ahead log), and a power failure after
    the next checkpoint; those wait for the disk, so a thread makes them. Raises StorageError
    where its file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._at = 0.0  # of the newest claim
        self._claiming: list[_Claim] = []
        self._claims = 0  # since the last checkpoint
        self._checkpoint: threading.Thread | None = None
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.executescript(_SCHEMA)
            _add_times(self._db)
            if path is not None:
                path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"The record of owners cannot be used: {error}.") from error

    async def claim(self, job: str, owner: str, backend: str) -> bool:
        """Give a job to an owner; False where the id was used before.

        What is claimed in one turn of the event loop is committed together; all of it is, before anybody goes on.
        """
        loop = asyncio.get_running_loop()
        self._at = max(julian(time.time()), math.nextafter(self._at, math.inf))  # no two jobs at one time
        claim = _Claim((job, owner, backend, self._at), loop.create_future())
        if not self._claiming:
            loop.call_soon(self._commit_claims)
        self._claiming.append(claim)
        return await claim.made

    def _commit_claims(self) -> None:
        claims, self._claiming = self._claiming, []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            made = [self._db.execute(_CLAIM, claim.row).rowcount == 1 for claim in claims]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            failure = StorageError(f"The record of owners cannot be used: {error}.")
            for claim in claims:
                if not claim.made.done():
                    claim.made.set_exception(failure)
            return
        for claim, new in zip(claims, made, strict=True):
            if not claim.made.done():
                claim.made.set_result(new)
        self._claims += len(claims)
        if self._claims >= _CLAIMS and self._path is not None:
            self._begin_checkpoint(self._path)

    def release(self, job: str) -> None:
        """The server did not take the job."""
        self._db.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def owner(self, job: str) -> str | None:
        """Whose job it is, None where nobody's."""
        row = self._db.execute("SELECT owner FROM jobs WHERE id = ?", (job,)).fetchone()
        return row[0] if row else None

    def jobs(self, owner: str, backend: str, limit: int, offset: int = 0) -> list[str]:
        """The newest jobs of an owner on a backend, the newest first."""
        rows = self._db.execute(
            "SELECT id FROM jobs WHERE owner = ? AND backend = ? ORDER BY at DESC LIMIT ? OFFSET ?",
            (owner, backend, limit, offset),
        )
        return [row[0] for row in rows]

    def unindexed(self, owner: str, backend: str, limit: int = 200) -> list[str]:
        """Jobs whose files are not all known yet, the newest first."""
        rows = self._db.execute(
            "SELECT id FROM jobs WHERE owner = ? AND indexed = 0 AND backend = ? ORDER BY at DESC LIMIT ?",
            (owner, backend, limit),
        )
        return [row[0] for row in rows]

    def indexed(self, job: str) -> None:
        """All files of a job are known."""
        self._db.execute("UPDATE jobs SET indexed = 1 WHERE id = ?", (job,))

    def add_files(self, owner: str, files: Iterable[File]) -> None:
        """These files are this owner's; a file may be several owners' where a server's cache gave it to each."""
        now = julian(time.time())
        rows = [(owner, file.type, file.subfolder, file.name, now) for file in files]
        if rows:
            self._db.executemany(_ADD, rows)

    def has_file(self, owner: str, file: File) -> bool:
        """Whether a file is this owner's."""
        words = "SELECT 1 FROM files WHERE owner = ? AND type = ? AND subfolder = ? AND name = ?"
        return self._db.execute(words, (owner, file.type, file.subfolder, file.name)).fetchone() is not None

    def is_only_owners(self, owner: str, file: File) -> bool:
        """Whether a file is this owner's and nobody else's."""
        words = "SELECT owner FROM files WHERE type = ? AND subfolder = ? AND name = ? LIMIT 2"
        return self._db.execute(words, (file.type, file.subfolder, file.name)).fetchall() == [(owner,)]

    def has_others_in(self, owner: str, folder: str) -> bool:
        """Whether a folder below input ("" = input itself), or one in it, holds a file that is not this owner's."""
        words = """SELECT 1 FROM files AS theirs WHERE type = 'input' AND owner != :owner
            AND (subfolder = :folder OR :folder = '' OR substr(subfolder, 1, length(:folder) + 1) = :folder || '/')
            AND NOT EXISTS (SELECT 1 FROM files AS mine WHERE mine.owner = :owner AND mine.type = 'input'
                AND mine.subfolder = theirs.subfolder AND mine.name = theirs.name) LIMIT 1"""
        return self._db.execute(words, {"owner": owner, "folder": folder}).fetchone() is not None

    def is_known(self, file: File) -> bool:
        """Whether a file is anybody's."""
        words = "SELECT 1 FROM files WHERE type = ? AND subfolder = ? AND name = ?"
        return self._db.execute(words, (file.type, file.subfolder, file.name)).fetchone() is not None

    def may_name(self, owner: str, file: File) -> bool:
        """Whether a file is this owner's, or nobody's."""
        words = "SELECT owner = ? FROM files WHERE type = ? AND subfolder = ? AND name = ? ORDER BY 1 DESC LIMIT 1"
        row = self._db.execute(words, (owner, file.type, file.subfolder, file.name)).fetchone()
        return row is None or bool(row[0])

    def close(self) -> None:
        """Close the file."""
        if self._checkpoint is not None:
            self._checkpoint.join()
        self._db.close()

    def _begin_checkpoint(self, path: Path) -> None:
        if self._checkpoint is None or not self._checkpoint.is_alive():
            self._claims = 0
            self._checkpoint = threading.Thread(target=_checkpoint, args=(path,), name="owners", daemon=True)
            self._checkpoint.start()


def _add_times(db: sqlite3.Connection) -> None:
    """Since when files are known, in a database that was made before that was kept."""
    with contextlib.suppress(sqlite3.OperationalError):  # the column is there
        db.execute("ALTER TABLE files ADD COLUMN at REAL NOT NULL DEFAULT 0")
        db.execute("UPDATE files SET at = ?", (julian(time.time()),))


def _checkpoint(path: Path) -> None:
    """Bring the log into the file; one that has grown large is begun anew, for which writers wait a moment."""
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(sqlite3.connect(path, timeout=1)) as db:
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if path.with_name(path.name + "-wal").stat().st_size > _LARGEST_LOG:
            db.execute("PRAGMA wal_checkpoint(RESTART)")
