"""Taking jobs in: keys, quotas, and the rows of those that were accepted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from comfyops.errors import ComfyOpsError, DependencyError, DuplicateKeyError, UnknownJobError, UsageError
from comfyops.jobs import direct, numbers, rows, schema, transitions
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.job import OVER, Accepted, Job, JobState
from comfyops.jobs.needs import Needs
from comfyops.jobs.rooms import Rooms
from comfyops.jobs.submitting import Prepared
from comfyops.jobs.tx import Tx, upsert

_j = schema.jobs.c


@dataclass(frozen=True, slots=True)
class New:
    """A job to write."""

    prepared: Prepared
    owner: str
    id: str
    batch: str | None = None
    schedule: str | None = None


def accept(tx: Tx, wanted: Sequence[New], fleet: Fleet, rooms: Rooms) -> list[Accepted | ComfyOpsError]:
    """Write jobs that came at the same moment, or find those that their keys stand for.

    Gives for each the answer, or the error that is its own, as `Queue.submit` raises it. Raises UsageError where the id
    of one is taken.
    """
    unservable = fleet.unservable(tx.connection, (new.prepared.needs for new in wanted))
    answers: dict[int, Accepted | ComfyOpsError] = {}
    plain: defaultdict[str, list[int]] = defaultdict(list)
    for place, new in enumerate(wanted):
        if (error := unservable.get(new.prepared.needs.key)) is not None:
            answers[place] = error
        elif new.prepared.submission.idempotency_key is not None or new.prepared.waits_for:
            answers[place] = _accept_alone(tx, new, rooms)
        else:
            plain[new.owner].append(place)
    taken: list[int] = []
    for owner, places in plain.items():
        room = rooms.find(tx, owner, len(places))
        fitting = len(places) if room.jobs is None else max(0, room.jobs)
        taken += places[:fitting]
        answers |= {place: room.error() for place in places[fitting:]}
    taken.sort()
    jobs = add(tx, [wanted[place] for place in taken])
    answers |= {place: Accepted(job) for place, job in zip(taken, jobs, strict=True)}
    return [answers[place] for place in range(len(wanted))]


def _accept_alone(tx: Tx, new: New, rooms: Rooms) -> Accepted | ComfyOpsError:
    """As `accept` of one that may fail by itself."""
    key = new.prepared.submission.idempotency_key
    try:
        with tx.nested():
            if key is not None:
                row = take_key(tx, new.owner, key, new.prepared.request_hash, job=new.id)
                if row is not None:
                    return Accepted(_replayed(tx, row.job, new.owner), True)
            rooms.check(tx, new.owner, 1)
            [job] = add(tx, [new])
            return Accepted(job)
    except ComfyOpsError as error:
        return error


def _replayed(tx: Tx, job: str | None, owner: str) -> Job:
    if job is None:
        raise DuplicateKeyError("This idempotency key was used for a batch.")
    return rows.read_job(tx.connection, job, owner)


def take_key(tx: Tx, owner: str, key: str, request_hash: str, **values: str) -> Row[Any] | None:
    """Have a key stand for this request; gives its row where it does already.

    Raises DuplicateKeyError where it stands for another.
    """
    row = {"owner": owner, "key": key, "request_hash": request_hash, "created_at": tx.now, **values}
    k = schema.idempotency.c
    add_key = upsert(tx, schema.idempotency, row, ["owner", "key"], {})
    if tx.execute(add_key.returning(k.key)).first() is not None:
        return None
    found: Row[Any] = tx.execute(select(schema.idempotency).where(k.owner == owner, k.key == key)).one()
    if found.request_hash != request_hash:
        raise DuplicateKeyError(f"The idempotency key {key[:80]!r} was used for another request.", job=found.job)
    return found


def add(tx: Tx, wanted: Sequence[New]) -> list[Job]:
    """Write the rows of new jobs, in their order; each may wait for those before it.

    Raises UsageError where an id is taken, UnknownJobError, DependencyError.
    """
    if not wanted:
        return []
    blockers = _blockers(tx, wanted)
    _remember_needs(tx, [new.prepared.needs for new in wanted])
    values = [
        _values(new, number, tx.now, sum(blockers.get(new.id, {}).values()))
        for new, number in zip(wanted, numbers.following(tx, len(wanted)), strict=True)
    ]
    try:
        with tx.nested():
            direct.add(tx, schema.jobs, values)
    except direct.BROKEN_RULE as error:
        job = _taken_id(tx, [new.id for new in wanted])
        raise UsageError(f"The id {job} belongs to another job already.", job=job) from error
    direct.add(tx, schema.requests, [_request(new) for new in wanted])
    dependencies = [
        {"job": job, "needs": needs, "settled": 0 if is_open else 1}
        for job, its in blockers.items()
        for needs, is_open in its.items()
    ]
    if dependencies:
        direct.add(tx, schema.dependencies, dependencies)
    transitions.begin(tx, {new.id: new.prepared.submission.name for new in wanted})
    return [_job(new, row) for new, row in zip(wanted, values, strict=True)]


def _blockers(tx: Tx, wanted: Sequence[New]) -> dict[str, dict[str, bool]]:
    """By job what it waits for, and whether that still has to run."""
    found, before = {}, dict[str, str]()
    for new in wanted:
        if new.prepared.waits_for:
            beside = {job: True for job in new.prepared.waits_for if before.get(job) == new.owner}
            others = [job for job in new.prepared.waits_for if job not in beside]
            found[new.id] = {**unsettled(tx, others, new.owner), **beside}
        before[new.id] = new.owner
    return found


def _values(new: New, number: int, now: float, blockers: int) -> dict[str, Any]:
    submission = new.prepared.submission
    return {
        "number": number,
        "id": new.id,
        "owner": new.owner,
        "state": JobState.WAITING.value,
        "name": submission.name,
        "priority": submission.priority,
        "tags": rows.dump(submission.tags),
        "batch": new.batch or submission.batch,
        "schedule": new.schedule,
        "created_at": now,
        "not_before": now + submission.delay if submission.delay else 0.0,
        "deadline": submission.deadline,
        "needs_key": new.prepared.needs.key,
        "blockers": blockers,
        "avoid": "",
        "attempt": 0,
        "failures": 0,
        "epoch": 0,
        "client_id": submission.client_id,
        "webhook_url": submission.webhook_url,
        "last_seq": 1,
        "outputs_count": 0,
    }


def _request(new: New) -> dict[str, str]:
    return {"job": new.id, "graph": new.prepared.graph, "extra_data": new.prepared.extra_data}


def _job(new: New, row: Mapping[str, Any]) -> Job:
    """The job as it would be read."""
    submission = new.prepared.submission
    return Job(
        new.id,
        row["number"],
        new.owner,
        JobState.WAITING,
        row["created_at"],
        submission.name,
        submission.priority,
        tuple(submission.tags),
        row["batch"],
        not_before=row["not_before"],
        deadline=submission.deadline,
        needs_key=new.prepared.needs.key,
        model_set=new.prepared.needs.model_set,
        client_id=submission.client_id,
        webhook_url=submission.webhook_url,
        graph=submission.graph,
        extra_data=submission.extra_data,
    )


def _taken_id(tx: Tx, ids: Sequence[str]) -> str:
    """The first of the ids that a job has already, or that stands twice among them."""
    there = set(tx.execute(select(_j.id).where(_j.id.in_(ids))).scalars())
    return next((job for place, job in enumerate(ids) if job in there or job in ids[:place]), ids[0])


def unsettled(tx: Tx, jobs: Sequence[str], owner: str) -> dict[str, bool]:
    """Whether each of these jobs still has to run. Raises UnknownJobError, DependencyError."""
    blockers = {}
    for job in jobs:
        # The lock keeps it from ending between this look and the row that says somebody waits for it.
        row = tx.execute(select(_j.state, _j.owner).where(_j.id == job).with_for_update(read=True)).one_or_none()
        if row is None or row.owner != owner:
            raise UnknownJobError(f"There is no job {job!r} to wait for.", job=job)
        if row.state in OVER and row.state != JobState.DONE:
            raise DependencyError(f"The job {job} is {row.state}: what it should make will not come.", job=job)
        blockers[job] = row.state != JobState.DONE
    return blockers


def _remember_needs(tx: Tx, needs: Sequence[Needs]) -> None:
    distinct = {item.key: item for item in needs}.values()
    new = [{"key": item.key, "model_set": item.model_set, "document": rows.dump(item.as_dict())} for item in distinct]
    direct.add(tx, schema.needs, new, key="key")
