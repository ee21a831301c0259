"""Pure: records of who did what, each holding the hash of the one before it.

Whoever changes, removes, adds or reorders records has to make every later hash anew; `verified` finds it out otherwise.
Who notes the newest hash elsewhere (`comfyops audit verify --head HASH`) finds even that out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from comfyops.errors import AuditError

START = "0" * 64
"""The hash before the first record."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. `at` is in seconds since the epoch; `actor` is an owner's id, `target` what it was done to."""

    action: str
    at: float
    actor: str = ""
    name: str = ""
    token_id: str = ""
    address: str = ""
    target: str = ""
    allowed: bool = True
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_NAMES = tuple(item.name for item in fields(Event))


@dataclass(frozen=True, slots=True)
class Record:
    """An event in its place: `seq` counts from 1, `previous` is the hash of the record before, `hash` its own."""

    seq: int
    event: Event
    previous: str
    hash: str

    def as_json(self) -> str:
        """The record as one line of JSON; `parse` reads it."""
        return _canonical({"seq": self.seq, **_plain(self.event), "previous": self.previous, "hash": self.hash})


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: after the record `seq`, whose hash this is."""

    seq: int = 0
    hash: str = START


def chained(event: Event, after: Link) -> Record:
    """The record that continues a chain."""
    return Record(after.seq + 1, event, after.hash, _hash(after.seq + 1, event, after.hash))


def verified(records: Iterable[Record], start: Link) -> Link:
    """The end of a chain that begins after `start`. Raises AuditError naming the first record that does not fit."""
    end = start
    for record in records:
        if record.seq != end.seq + 1:
            raise AuditError(f"Record {end.seq + 1} is missing; {record.seq} follows instead.", seq=end.seq + 1)
        if record.previous != end.hash or record.hash != _hash(record.seq, record.event, record.previous):
            raise AuditError(f"Record {record.seq} has been changed, or the one before it.", seq=record.seq)
        end = Link(record.seq, record.hash)
    return end


def parse(line: str) -> Record:
    """A record from a line of an export. Raises AuditError."""
    try:
        found = json.loads(line)
        event = Event(**{item.name: found[item.name] for item in fields(Event)})
        return Record(found["seq"], event, found["previous"], found["hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise AuditError("A line of the export is no record.") from error


def _hash(seq: int, event: Event, previous: str) -> str:
    return hashlib.sha256(_canonical([seq, _plain(event), previous]).encode()).hexdigest()


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def _plain(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _NAMES} | {"details": dict(event.details)}
