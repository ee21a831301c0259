"""What is told to a job's webhook, and the list of what was told: kept in the database until its receiver has it.

A message is noted in the transaction that ends the job, so that no end goes untold and none is told that was not. Its
body is that of Standard Webhooks, {"type", "timestamp", "data"}; the data is the job without its graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Row, delete, insert, select, update

from comfyops.errors import UnknownJobError
from comfyops.jobs import hub, schema
from comfyops.jobs.job import JobState
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx
from comfyops.support.webhooks import Receiver, new_secret

TYPES: Mapping[JobState, str] = {
    JobState.DONE: "job.completed",
    JobState.FAILED: "job.failed",
    JobState.CANCELLED: "job.cancelled",
    JobState.EXPIRED: "job.expired",
}
"""The type of message for each end of a job."""

MOST_OUTPUTS = 200
"""Outputs that a message names; `outputs_count` tells how many there are."""

_d, _o = schema.deliveries.c, schema.outputs.c


@dataclass(frozen=True, slots=True)
class Told:
    """One message to a webhook. `state` is waiting, delivered or failed; `status` that of the last answer."""

    id: str
    job: str
    url: str
    type: str
    state: str
    attempts: int
    next_at: float
    status: int | None
    reason: str
    created_at: float


class Webhooks:
    """The messages of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ls(self, *, job: str | None = None, state: str | None = None, limit: int = 100) -> tuple[Told, ...]:
        """Messages, newest first."""
        return await self._store.read(lambda connection: _ls(connection, job, state, limit))

    async def replay(self, message: str) -> Told:
        """Send a message once more, whatever came of it. Raises UnknownJobError where there is none of this id."""
        return await self._store.write(lambda tx: _replay(tx, message))


def check_address(url: str) -> None:
    """Raise UsageError for what is no address of a webhook; whether it may be asked is judged when it is."""
    Receiver(url, new_secret(), allow_private=True)


def note(tx: Tx, row: Row[Any]) -> None:
    """Note what is to be told of a job that is over; `row` is its row."""
    kind = TYPES[JobState(row.state)]
    message = f"msg_{uuid5(NAMESPACE_URL, f'{row.id}:{row.last_seq}').hex}"  # the same however often it is noted
    values = {
        "id": message,
        "job": row.id,
        "url": row.webhook_url,
        "type": kind,
        "body": json.dumps(body(kind, tx.now, dict(row._mapping), _outputs(tx, row.id)), ensure_ascii=False),
        "state": "waiting",
        "attempts": 0,
        "next_at": tx.now,
        "taken_until": 0.0,
        "status": None,
        "reason": "",
        "created_at": tx.now,
    }
    tx.execute(delete(schema.deliveries).where(_d.id == message))
    tx.execute(insert(schema.deliveries).values(**values))
    tx.wakes.add(hub.DELIVER)


def body(kind: str, at: float, job: Mapping[str, Any], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The body of a message; `job` has the columns of its row, times are told in UTC."""
    error = job["error"]
    data = {
        "id": job["id"],
        "name": job["name"],
        "status": str(job["state"]),
        "tags": json.loads(job["tags"]),
        "batch": job["batch"],
        "attempts": job["attempt"],
        "created_at": _time(job["created_at"]),
        "started_at": _time(job["started_at"]),
        "finished_at": _time(job["finished_at"]),
        "error": json.loads(error) if error else None,
        "outputs_count": job["outputs_count"],
        "outputs": outputs,
    }
    return {"type": kind, "timestamp": _time(at), "data": data}


def _outputs(tx: Tx, job: str) -> list[dict[str, Any]]:
    columns = (_o.id, _o.node, _o.kind, _o.filename, _o.mime, _o.size, _o.hash)
    rows = tx.execute(select(*columns).where(_o.job == job).order_by(_o.index).limit(MOST_OUTPUTS))
    return [dict(row._mapping) for row in rows]


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TOLD = tuple(schema.deliveries.c[name] for name in Told.__slots__)


def _ls(connection: Connection, job: str | None, state: str | None, limit: int) -> tuple[Told, ...]:
    conditions = [column == value for column, value in ((_d.job, job), (_d.state, state)) if value is not None]
    statement = select(*_TOLD).where(*conditions).order_by(_d.created_at.desc(), _d.id).limit(max(1, limit))
    return tuple(Told(**row._mapping) for row in connection.execute(statement))


def _replay(tx: Tx, message: str) -> Told:
    values = {"state": "waiting", "attempts": 0, "next_at": tx.now, "taken_until": 0.0, "reason": "sent once more"}
    statement = update(schema.deliveries).where(_d.id == message).values(**values)
    row = tx.execute(statement.returning(*_TOLD)).one_or_none()
    if row is None:
        raise UnknownJobError(f"There is no message {message[:80]!r} to a webhook.", id=message)
    tx.wakes.add(hub.DELIVER)
    return Told(**row._mapping)
