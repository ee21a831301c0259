"""The records of who did what, in an SQLite file of their own (`audit.db`, mode 0600) that only ever grows.

Triggers of the database refuse to change a record, and to remove one that no checkpoint covers. A checkpoint is what
retention leaves behind: the number and hash of the last record that was dropped, so that the rest can be verified.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
    true,
)

from comfyops.auth.chain import Event, Link, Record, chained, verified
from comfyops.auth.database import Database
from comfyops.errors import AuditError
from comfyops.support.sqlite_rows import insertions

FILE = "audit.db"
_CHECKPOINT = "audit.checkpoint"
_metadata = MetaData()
_records = Table(
    "records",
    _metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("action", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("name", String, nullable=False),
    Column("token_id", String, nullable=False),
    Column("address", String, nullable=False),
    Column("target", String, nullable=False),
    Column("allowed", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("details", String, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)
_links = Table(
    "links",
    _metadata,
    Column("name", String, primary_key=True),  # "head": the newest record; "checkpoint": the last one dropped
    Column("seq", Integer, nullable=False),
    Column("hash", String, nullable=False),
)
_TRIGGERS = (
    "CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records "
    "BEGIN SELECT RAISE(ABORT, 'records are never changed'); END",
    "CREATE TRIGGER IF NOT EXISTS records_kept BEFORE DELETE ON records "
    "WHEN OLD.seq > COALESCE((SELECT seq FROM links WHERE name = 'checkpoint'), 0) "
    "BEGIN SELECT RAISE(ABORT, 'no checkpoint covers this record'); END",
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified: how many records, and the newest's number and hash."""

    records: int
    seq: int
    hash: str
    dropped: int


class AuditStore:
    """Reads and appends records; its methods block. Several processes may append. Raises StorageError."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        with self._database.writing() as connection:
            _metadata.create_all(connection)
            for trigger in _TRIGGERS:
                connection.execute(text(trigger))

    @classmethod
    def at_home(cls, home: Path) -> AuditStore:
        """The records in the folder of the settings (`config.home`)."""
        return cls(home.expanduser() / FILE)

    def append(self, events: Iterable[Event]) -> None:
        """Add events to the chain, all or none."""
        with self._database.writing() as connection:
            _append(connection, events)

    def newest(self, limit: int, *, actor: str = "", action: str = "", refused: bool = False) -> tuple[Record, ...]:
        """The newest records that fit, newest first. `actor` is an id or a name, `action` a beginning."""
        wanted = select(_records).order_by(_records.c.seq.desc()).limit(limit)
        if actor:
            wanted = wanted.where((_records.c.actor == actor) | (_records.c.name == actor))
        if action:
            wanted = wanted.where(_records.c.action.startswith(action, autoescape=True))
        if refused:
            wanted = wanted.where(_records.c.allowed == 0)
        with self._database.reading() as connection:
            return tuple(_record(row) for row in connection.execute(wanted))

    def verify(self, head: str = "") -> Verified:
        """See that nothing was changed, removed or reordered; `head` is a hash that has to be in the chain.

        Raises AuditError naming the first record that does not fit.
        """
        with self._database.reading() as connection, connection.begin():
            start = _link(connection, "checkpoint")
            wanted = itertools.chain([start.hash], connection.execute(select(_records.c.hash)).scalars())
            if head and head not in wanted:
                hint = "It may be older than what retention dropped." if start.seq else None
                raise AuditError("No record has the hash that was given as head.", hint=hint, head=head)
            _check_dropped(connection, start)
            end = verified(_all(connection), start)
            if end != _link(connection, "head"):
                raise AuditError(f"Records after {end.seq} are missing.", seq=end.seq + 1)
        return Verified(end.seq - start.seq, end.seq, end.hash, start.seq)

    def export(self, write: Callable[[str], object]) -> int:
        """Hand every record on as a line of JSON, oldest first; how many."""
        count = 0
        with self._database.reading() as connection, connection.begin():
            for record in _all(connection):
                write(record.as_json() + "\n")
                count += 1
        return count

    def has_older(self, before: float) -> bool:
        """Whether there is a record from before a time (seconds since the epoch)."""
        with self._database.reading() as connection:
            return connection.execute(select(_records.c.seq).where(_records.c.at < before).limit(1)).first() is not None

    def prune(self, before: float, now: float) -> int:
        """Drop the records before the first that is not older than a time (seconds since the epoch); how many.

        So a clock that was wrong for a while drops nothing that is younger. The rest stays verifiable, and what was
        dropped is itself a record. Raises AuditError, and drops nothing, where the chain is broken.
        """
        self.verify()
        with self._database.writing() as connection:
            kept = connection.execute(select(func.min(_records.c.seq)).where(_records.c.at >= before)).scalar_one()
            older = _records.c.seq < kept if kept is not None else true()
            wanted = select(_records).where(older).order_by(_records.c.seq.desc()).limit(1)
            last = connection.execute(wanted).one_or_none()
            if last is None:
                return 0
            dropped: int = last.seq - _link(connection, "checkpoint").seq
            details = {"records": dropped, "up_to": last.seq, "hash": last.hash}
            _append(connection, [Event(_CHECKPOINT, now, reason="retention", details=details)])
            _set_link(connection, "checkpoint", Link(last.seq, last.hash))
            connection.execute(delete(_records).where(_records.c.seq <= last.seq))
        return dropped

    def close(self) -> None:
        """Let the file go."""
        self._database.close()


def _append(connection: Connection, events: Iterable[Event]) -> None:
    end = _link(connection, "head")
    rows = []
    for event in events:
        record = chained(event, end)
        end = Link(record.seq, record.hash)
        rows.append(_row(record))
    if rows:
        # past the library, which looks at each value
        for words, given in insertions(_records.name, tuple(_records.c.keys()), rows):
            connection.exec_driver_sql(words, given)
        _set_link(connection, "head", end)


def _link(connection: Connection, name: str) -> Link:
    rows = connection.execute(select(_links.c.seq, _links.c.hash).where(_links.c.name == name)).all()
    return Link(*rows[0]) if len(rows) == 1 else Link()


def _check_dropped(connection: Connection, start: Link) -> None:
    """See that retention has recorded that it dropped what is not there. Raises AuditError."""
    if start == Link():
        return
    wanted = select(_records).where(_records.c.action == _CHECKPOINT).order_by(_records.c.seq.desc()).limit(1)
    row = connection.execute(wanted).one_or_none()
    said = _record(row).event.details if row is not None else {}
    if (said.get("up_to"), said.get("hash")) != (start.seq, start.hash):
        raise AuditError(f"Records up to {start.seq} are missing, and no record says that they were dropped.", seq=1)


def _set_link(connection: Connection, name: str, link: Link) -> None:
    connection.execute(delete(_links).where(_links.c.name == name))
    connection.execute(insert(_links).values(name=name, seq=link.seq, hash=link.hash))


def _all(connection: Connection) -> Iterator[Record]:
    rows = connection.execution_options(yield_per=1000).execute(select(_records).order_by(_records.c.seq))
    return (_record(row) for row in rows)


def _row(record: Record) -> tuple[Any, ...]:
    event = record.event
    details = json.dumps(dict(event.details), default=str) if event.details else "{}"
    who = (event.actor, event.name, event.token_id)
    what = (event.address, event.target, int(event.allowed), event.reason, details)
    return (record.seq, event.at, event.action, *who, *what, record.previous, record.hash)


def _record(row: Row[Any]) -> Record:
    """The record of a row; what cannot be one any more stays so, which the hash then shows."""
    values = {name: getattr(row, name) for name in Event.__dataclass_fields__}
    try:
        details = json.loads(row.details)
    except (ValueError, TypeError, RecursionError):
        details = None
    values["details"] = details if isinstance(details, dict) else {"broken": str(row.details)}
    values["allowed"] = bool(row.allowed) if row.allowed in (0, 1) else row.allowed
    return Record(row.seq, Event(**values), row.previous, row.hash)
