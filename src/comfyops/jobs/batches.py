"""Many jobs accepted as one, with one id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Connection, func, insert, select

from comfyops.errors import DuplicateKeyError, UnknownJobError, UsageError
from comfyops.jobs import accepting, schema
from comfyops.jobs.accepting import New
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.job import JobState
from comfyops.jobs.rooms import Rooms
from comfyops.jobs.submitting import Prepared
from comfyops.jobs.tx import Tx

MAX_JOBS = 10_000

_j = schema.jobs.c


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch: its jobs in the order in which they were given, and how many are in each state."""

    id: str
    owner: str
    name: str
    created_at: float
    jobs: tuple[str, ...]
    states: dict[JobState, int]

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return all(state.over for state in self.states)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants done as one."""

    jobs: Sequence[Prepared]
    owner: str
    name: str = ""
    idempotency_key: str | None = None
    request_hash: str = ""


def accept(tx: Tx, request: Request, fleet: Fleet, rooms: Rooms) -> Batch:
    """Write all jobs of a batch, or find the batch that its key stands for. Raises as `Queue.submit_batch`."""
    if not 0 < len(request.jobs) <= MAX_JOBS:
        raise UsageError(f"A batch has between 1 and {MAX_JOBS} jobs, not {len(request.jobs)}.")
    for error in fleet.unservable(tx.connection, (prepared.needs for prepared in request.jobs)).values():
        raise error
    batch = str(uuid4())
    if request.idempotency_key is not None:
        row = accepting.take_key(tx, request.owner, request.idempotency_key, _hash(request), batch=batch)
        if row is not None and row.batch is None:
            raise DuplicateKeyError("This idempotency key was used for a single job.")
        if row is not None:
            return read(tx.connection, row.batch, request.owner)
    rooms.check(tx, request.owner, len(request.jobs))
    facts = {"owner": request.owner, "name": request.name, "jobs": len(request.jobs), "created_at": tx.now}
    tx.execute(insert(schema.batches).values(id=batch, **facts))
    accepting.add(tx, [New(item, request.owner, item.submission.id or str(uuid4()), batch) for item in request.jobs])
    return read(tx.connection, batch, request.owner)


def _hash(request: Request) -> str:
    if request.request_hash:
        return request.request_hash
    text = "\n".join([request.name, *(prepared.request_hash for prepared in request.jobs)])
    return hashlib.sha256(text.encode()).hexdigest()


def read(connection: Connection, batch: str, owner: str | None) -> Batch:
    """A batch and how its jobs stand. Raises UnknownJobError."""
    b = schema.batches.c
    row = connection.execute(select(schema.batches).where(b.id == batch)).one_or_none()
    if row is None or (owner is not None and row.owner != owner):
        raise UnknownJobError(f"There is no batch {batch[:80]!r}.", batch=batch)
    jobs = connection.execute(select(_j.id).where(_j.batch == batch).order_by(_j.number)).scalars()
    counts = select(_j.state, func.count()).where(_j.batch == batch).group_by(_j.state)
    states = {JobState(state): count for state, count in connection.execute(counts)}
    return Batch(row.id, row.owner, row.name, row.created_at, tuple(jobs), states)
