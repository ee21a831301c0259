"""Durable jobs in lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape

from comfyops.cli.output import count, in_words, plain
from comfyops.client import Batch, Event, Explanation, Job, LogEntry


def data_of(job: Job) -> dict[str, Any]:
    """A job for programs; its id is called run_id too, as jobs of plain servers are."""
    return {"run_id": job.id, **plain(job)}


def jobs(found: Iterable[Job], *, owners: bool) -> Iterator[str]:
    """One line for each job; with their owners where there may be several."""
    for job in found:
        whose = f"  {job.owner}" if owners else ""
        name = f"  {job.name}" if job.name else ""
        what = f"{job.id}  {job.status:<9}"
        yield f"{escape(what)}  {local(job.created_at)}  {count(job.outputs_count, 'output')}{escape(whose + name)}"


def job(found: Job) -> Iterator[str]:
    """One job, its outputs, why it failed."""
    name = f"  {found.name}" if found.name else ""
    yield f"{escape(found.id)}  {found.status}{escape(name)}"
    if found.queue_position is not None:
        yield f"  {found.queue_position - 1} before it"
    if found.backend and not found.over:
        yield f"  on {escape(found.backend)}, attempt {found.attempt}{_percent(found)}"
    if found.error is not None:
        where = f"node {found.error.node_id} ({found.error.class_type}): " if found.error.node_id else ""
        yield f"  {escape(where + found.error.message)}"
    for item in found.outputs:
        size = in_words(item.size_bytes)
        yield f"  node {escape(item.node_id)}  {item.type:<6} {escape(item.name)}  {size}"


def batch(found: Batch) -> Iterator[str]:
    """One batch."""
    states = ", ".join(f"{number} {status}" for status, number in sorted(found.statuses.items()))
    name = f"  {found.name}" if found.name else ""
    yield f"{escape(found.id)}  {count(len(found.job_ids), 'job')}: {states}{escape(name)}"


def explanation(found: Explanation) -> Iterator[str]:
    """Why a job is where it is."""
    yield f"{escape(found.id)}  {found.status}: {escape(found.reason)}"
    if found.queue_position is not None:
        yield f"  {found.queue_position - 1} before it"
    for other in found.waits_for:
        yield f"  waits for {escape(other)}"
    for run in found.attempts:
        reason = f": {run.reason}" if run.reason else ""
        yield f"  {local(run.started_at)}  run {run.number} on {escape(run.backend)} {escape(run.outcome + reason)}"
    for item in found.decisions:
        where = f"to {item.backend}" if item.backend else "not placed"
        yield f"  {local(item.at)}  {escape(f'{where}: {item.reason}')}"


def log(entries: Iterable[LogEntry]) -> Iterator[str]:
    """What happened to a job."""
    for entry in entries:
        words = " ".join(f"{name}={_short(value)}" for name, value in entry.data.items() if value not in (None, ""))
        yield f"{local(entry.at)}  {entry.type:<8} {escape(words)}"


def event(found: Event) -> str:
    """What happens to a job, in a line; "" for what is too fine for lines."""
    if found.type == "status":
        place = f", {found.queue_position - 1} before it" if found.queue_position is not None else ""
        return f"{found.status}{place}"
    if found.type == "output" and found.output is not None:
        return f"made {escape(found.output.name)} ({in_words(found.output.size_bytes)})"
    if found.progress is not None and found.progress.current_node:
        at = found.progress
        return f"{escape(str(at.current_node_class or at.current_node))}  {at.nodes_done} of {at.nodes_total} nodes"
    return ""


def local(text: str) -> str:
    """A time in UTC as people read it where they are."""
    try:
        return datetime.fromisoformat(text).astimezone().isoformat(" ", "seconds")[:19]
    except (ValueError, OverflowError):
        return "-"


def moment(seconds: float | None) -> str:
    """A time since 1970 likewise; "-" for none."""
    return "-" if seconds is None else local(datetime.fromtimestamp(seconds, UTC).isoformat())


def _percent(found: Job) -> str:
    return f", {100 * found.progress.value:.0f} %" if found.progress else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
