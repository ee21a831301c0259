"""Jobs of the queue in the shapes of ComfyUI's queue, history and jobs. Pure.

Source: GET /queue, /history and /api/jobs of ComfyUI 0.33.0. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfyops.gateway.durable import names
from comfyops.jobs.job import Job, JobOutput, JobState
from comfyops.simulator.jobs import finished_job, queued_job
from comfyops.simulator.queue import Item

_KEYS = {"image": "images", "video": "images", "audio": "audio", "text": "text", "latent": "latents", "3d": "3d"}


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def queue_item(job: Job) -> list[Any]:
    """A job that waits or runs, as GET /queue lists it."""
    return _item(job, ()).entry()


def _item(job: Job, outputs: Iterable[JobOutput]) -> Item:
    extra = {**job.extra_data, "create_time": _ms(job.created_at)}
    if job.client_id:
        extra["client_id"] = job.client_id
    nodes = tuple(dict.fromkeys(output.node for output in outputs))
    return Item(job.number, job.id, dict(job.graph or {}), extra, nodes, job.number)


def file_item(output: JobOutput) -> dict[str, Any]:
    """A file as clients are told of it, to be asked for at /view."""
    subfolder = names.shown(output.job, output.subfolder)
    return {"filename": output.filename, "subfolder": subfolder, "type": output.folder_type}


def shown_by_node(outputs: Iterable[JobOutput]) -> dict[str, dict[str, list[Any]]]:
    """What each node shows: lists of files and of texts."""
    found: dict[str, dict[str, list[Any]]] = {}
    for output in outputs:
        node = found.setdefault(output.node, {})
        key = _KEYS.get(output.kind, "files")
        node.setdefault(key, []).append(file_item(output) if output.filename else output.text)
        if output.kind == "video":
            node["animated"] = [True]
    return found


def history_entry(job: Job, outputs: tuple[JobOutput, ...]) -> dict[str, Any]:
    """A job that is over, as GET /history has it."""
    nodes = shown_by_node(outputs)
    own = {"parent_node": None}
    return {
        "prompt": _item(job, outputs).entry(),
        "outputs": nodes,
        "status": {
            "status_str": "success" if job.state is JobState.DONE else "error",
            "completed": job.state is JobState.DONE,
            "messages": messages(job, list(nodes)),
        },
        "meta": {node: {"node_id": node, "display_node": node, **own, "real_node_id": node} for node in nodes},
    }


def messages(job: Job, executed: list[str]) -> list[list[Any]]:
    """The messages of a run that history keeps."""
    base = {"prompt_id": job.id}
    started = _ms(job.started_at or job.finished_at or job.created_at)
    ended = {**base, "timestamp": _ms(job.finished_at or job.created_at)}
    found: list[list[Any]] = [
        ["execution_start", {**base, "timestamp": started}],
        ["execution_cached", {"nodes": [], **base, "timestamp": started}],
    ]
    return [*found, [*ending(job, executed, ended)]]


def ending(job: Job, executed: list[str], ended: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The message that tells how a job ended."""
    if job.state is JobState.DONE:
        return "execution_success", ended
    error = job.error
    where = {
        "node_id": error.node if error else "",
        "node_type": error.class_type if error else "",
        "executed": executed,
    }
    if job.state is JobState.CANCELLED or error is None:
        return "execution_interrupted", {**ended, **where}
    why = {
        "exception_message": error.message,
        "exception_type": error.exception_type or error.code,
        "traceback": [],
        "current_inputs": {},
        "current_outputs": [],
    }
    return "execution_error", {**ended, **where, **why}


def listed(job: Job, outputs: tuple[JobOutput, ...], *, detailed: bool = False) -> dict[str, Any]:
    """A job as GET /api/jobs lists it."""
    if job.state.over:
        return finished_job(history_entry(job, outputs), modern=True, detailed=detailed)
    status = "in_progress" if job.state.active else "pending"
    return queued_job(_item(job, ()), status, modern=True)
