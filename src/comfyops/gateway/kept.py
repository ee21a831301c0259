"""What the page keeps for its owner, saved workflows and settings: each owner's own, in a database of the gateway."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from comfyops.errors import StorageError

FILE = "userdata.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    owner TEXT NOT NULL, path TEXT NOT NULL, data BLOB NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (owner, path)
) STRICT;
CREATE TABLE IF NOT EXISTS settings (
    owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, name)
) STRICT;
"""


class FullError(Exception):
    """An owner keeps as much as anybody may."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file; `size` in bytes, times in seconds since the epoch."""

    path: str
    size: int
    created: float
    modified: float


class Kept:
    """Files and settings by owner; its methods block, from any thread. Raises StorageError.

    `room` is how many bytes of files one owner may keep, and a sixteenth of it is for settings.
    """

    def __init__(self, path: Path, room: int = 256 * 1024 * 1024, clock: Callable[[], float] = time.time) -> None:
        self._room = room
        self._clock = clock
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"What the page keeps cannot be used: {error}.", path=str(path)) from error

    def files(self, owner: str) -> tuple[Entry, ...]:
        """Every file of an owner, by path."""
        words = "SELECT path, length(data), created, modified FROM files WHERE owner = ? ORDER BY path"
        with self._using() as db:
            return tuple(Entry(*row) for row in db.execute(words, (owner,)))

    def read(self, owner: str, path: str) -> bytes | None:
        """What a file holds; None where there is none."""
        with self._using() as db:
            row = db.execute("SELECT data FROM files WHERE owner = ? AND path = ?", (owner, path)).fetchone()
        return row[0] if row else None

    def write(self, owner: str, path: str, data: bytes, *, overwrite: bool) -> Entry | None:
        """Keep a file; None where there is one and it is not to be replaced. Raises FullError."""
        now = self._clock()
        with self._writing() as db:
            others = "SELECT COALESCE(SUM(length(data)), 0) FROM files WHERE owner = ? AND path != ?"
            if db.execute(others, (owner, path)).fetchone()[0] + len(data) > self._room:
                raise FullError
            words = "SELECT created FROM files WHERE owner = ? AND path = ?"
            before = db.execute(words, (owner, path)).fetchone()
            if before and not overwrite:
                return None
            entry = Entry(path, len(data), before[0] if before else now, now)
            row = (owner, path, data, entry.created, entry.modified)
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)
        return entry

    def delete(self, owner: str, path: str) -> bool:
        """Forget a file; whether there was one."""
        with self._writing() as db:
            return db.execute("DELETE FROM files WHERE owner = ? AND path = ?", (owner, path)).rowcount == 1

    def move(self, owner: str, path: str, target: str, *, overwrite: bool) -> Entry | None:
        """Give a file another path; None where there is one and it is not to be replaced. Raises KeyError."""
        with self._writing() as db:
            words = "SELECT length(data), created, modified FROM files WHERE owner = ? AND path = ?"
            row = db.execute(words, (owner, path)).fetchone()
            if row is None:
                raise KeyError(path)
            if db.execute(words, (owner, target)).fetchone() and not overwrite:
                return None
            if target != path:
                db.execute("DELETE FROM files WHERE owner = ? AND path = ?", (owner, target))
                db.execute("UPDATE files SET path = ? WHERE owner = ? AND path = ?", (target, owner, path))
        return Entry(target, *row)

    def settings(self, owner: str) -> dict[str, str]:
        """The settings of an owner, each as JSON."""
        with self._using() as db:
            return dict(db.execute("SELECT name, value FROM settings WHERE owner = ?", (owner,)).fetchall())

    def change(self, owner: str, values: Mapping[str, str]) -> None:
        """Set some settings, each to JSON. Raises FullError, and then sets none."""
        with self._writing() as db:
            rows = [(owner, name, value) for name, value in values.items()]
            db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", rows)
            words = "SELECT COALESCE(SUM(length(name) + length(value)), 0) FROM settings WHERE owner = ?"
            if db.execute(words, (owner,)).fetchone()[0] > self._room // 16:
                raise FullError

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._db
        except sqlite3.Error as error:
            raise StorageError(f"What the page keeps cannot be used: {error}.") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._using() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
