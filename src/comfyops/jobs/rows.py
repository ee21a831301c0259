"""Rows of the database made into values."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from comfyops.errors import UnknownJobError
from comfyops.jobs import schema
from comfyops.jobs.job import Attempt, Job, JobError, JobEvent, JobOutput, JobState, Progress

_j = schema.jobs.c
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_LONE = re.compile("[\ud800-\udfff]")  # halves of characters, which are no text in UTF-8

COLUMNS = [column for column in _j if column.name not in ("schedule", "blockers", "avoid", "failures", "last_seq")]
_LISTED = select(*COLUMNS, schema.needs.c.model_set).join(schema.needs, schema.needs.c.key == _j.needs_key)
_WHOLE = _LISTED.add_columns(schema.requests.c.graph, schema.requests.c.extra_data).join(schema.requests)
_ONE = _WHOLE.where(_j.id == bindparam("wanted"))


def listed() -> Any:
    """The statement for jobs without their graphs; rows go to `job`."""
    return _LISTED


def whole() -> Any:
    """The statement for jobs with their graphs."""
    return _WHOLE


def read_job(connection: Connection, job_id: str, owner: str | None = None) -> Job:
    """A job with its graph. Raises UnknownJobError, also for somebody else's."""
    row = connection.execute(_ONE, {"wanted": job_id}).one_or_none()
    if row is None or (owner is not None and row.owner != owner):
        raise UnknownJobError(f"There is no job {job_id[:80]!r}.", job=job_id)
    return job(row)


def check_owner(connection: Connection, job_id: str, owner: str | None) -> None:
    """Raise UnknownJobError where there is no such job of this owner."""
    found = connection.execute(select(_j.owner).where(_j.id == job_id)).scalar_one_or_none()
    if found is None or (owner is not None and found != owner):
        raise UnknownJobError(f"There is no job {job_id[:80]!r}.", job=job_id)


def job(row: Row[Any]) -> Job:
    """The job of a row of `listed`, or of a whole one."""
    values = dict(row._mapping)
    graph, extra_data = values.pop("graph", None), values.pop("extra_data", None)
    error, progress = values.pop("error"), values.pop("progress")
    return Job(
        **{
            **values,
            "state": JobState(values["state"]),
            "tags": tuple(json.loads(values["tags"])),
            "cancel_requested": values["cancel_requested"] is not None,
        },
        error=JobError.from_dict(json.loads(error)) if error else None,
        progress=Progress(**json.loads(progress)) if progress else None,
        graph=json.loads(graph) if graph else None,
        extra_data=MappingProxyType(json.loads(extra_data) if extra_data else {}),
    )


def event(row: Row[Any]) -> JobEvent:
    """The event of a row of `schema.events`."""
    return JobEvent(row.job, row.seq, row.type, row.at, MappingProxyType(json.loads(row.data)))


def output(row: Row[Any]) -> JobOutput:
    """The output of a row of `schema.outputs` joined with its asset's SHA-256."""
    values = dict(row._mapping)
    return JobOutput(**{**values, "hash": values["hash"] or "", "sha256": values["sha256"] or ""})


def attempt(row: Row[Any]) -> Attempt:
    """The attempt of a row of `schema.attempts`."""
    return Attempt(**{name: value for name, value in row._mapping.items() if name != "signature"})


def dump(value: Any) -> str:
    """JSON text that every database takes, the shortest way."""
    if not value and isinstance(value, dict):
        return "{}"
    text = _encoder.encode(value)
    if text.isascii() or not _LONE.search(text):
        return text
    return json.dumps(value, separators=(",", ":"))
