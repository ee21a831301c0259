"""Jobs of the queue in the shapes of ComfyUI's queue, history and jobs. Pure.

Source: GET /queue, /history and /api/jobs of ComfyUI 0.33.0. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comfyops.gateway.durable.shown import as_kept, file_item
from comfyops.jobs.job import Job, JobOutput, JobState
from comfyops.jobs.told import Told
from comfyops.simulator.jobs import finished_job, queued_job
from comfyops.simulator.queue import Item
from comfyops.workflows.node_types import NodeTypes

_KEYS = {"image": "images", "video": "images", "audio": "audio", "text": "text", "latent": "latents", "3d": "3d"}
_SECRETS = frozenset({"auth_token_comfy_org", "api_key_comfy_org"})  # for the server's nodes, told to nobody

NOTHING_TOLD = Told()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def queue_item(job: Job, types: NodeTypes | None) -> list[Any]:
    """A job that waits or runs, as GET /queue lists it."""
    return _item(job, types).entry()


def _item(job: Job, types: NodeTypes | None, shown: Iterable[str] = ()) -> Item:
    extra = {name: value for name, value in job.extra_data.items() if name not in _SECRETS}
    extra["create_time"] = _ms(job.created_at)
    if job.client_id:
        extra["client_id"] = job.client_id
    nodes = _output_nodes(job.graph or {}, types) or tuple(shown)
    return Item(job.number, job.id, dict(job.graph or {}), extra, nodes, job.number)


def _output_nodes(graph: Mapping[str, Any], types: NodeTypes | None) -> tuple[str, ...]:
    """The nodes whose results are wanted, as far as it is known which these are."""
    if types is None:
        return ()
    classes = {node: content.get("class_type") for node, content in graph.items() if isinstance(content, Mapping)}
    return tuple(
        node for node, name in classes.items() if isinstance(name, str) and name in types and types[name].is_output
    )


def shown_by_node(outputs: Sequence[JobOutput], told: Told = NOTHING_TOLD) -> dict[str, dict[str, Any]]:
    """What each node shows: as its server said it, with files where they are kept; else lists of files and of texts."""
    kept: dict[str, list[JobOutput]] = {}
    for output in outputs:
        kept.setdefault(output.node, []).append(output)
    found = {node: as_kept(node, shown, kept.get(node, ())) for node, shown in told.shown.items()}
    return {
        **{node: shown for node, shown in found.items() if shown},
        **{node: _listed(items) for node, items in kept.items() if not found.get(node)},
    }


def _listed(outputs: Iterable[JobOutput]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for output in outputs:
        key = _KEYS.get(output.kind, "files")
        found.setdefault(key, []).append(file_item(output) if output.filename else output.text)
        if output.kind == "video":
            found["animated"] = [True]
    return found


def history_entry(
    job: Job, outputs: tuple[JobOutput, ...], told: Told = NOTHING_TOLD, types: NodeTypes | None = None
) -> dict[str, Any]:
    """A job that is over, as GET /history has it."""
    nodes = shown_by_node(outputs, told)
    own = {"parent_node": None}
    return {
        "prompt": _item(job, types, nodes).entry(),
        "outputs": nodes,
        "status": {
            "status_str": "success" if job.state is JobState.DONE else "error",
            "completed": job.state is JobState.DONE,
            "messages": messages(job, told),
        },
        "meta": {node: {"node_id": node, "display_node": node, **own, "real_node_id": node} for node in nodes},
    }


def messages(job: Job, told: Told) -> list[list[Any]]:
    """The messages of a run that history keeps; of a job that never ran only its end."""
    base = {"prompt_id": job.id}
    found: list[list[Any]] = []
    began = told.began or job.started_at
    if began is not None:
        stamp = {**base, "timestamp": _ms(began)}
        found.append(["execution_start", stamp])
        found.append(["execution_cached", {"nodes": list(told.cached), **stamp}])
    return [*found, [*ending(job, (*told.cached, *told.shown))]]


def ending(job: Job, executed: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """The message that tells how a job ended; `executed` are the nodes that are known to have finished."""
    ended = {"prompt_id": job.id, "timestamp": _ms(job.finished_at or job.created_at)}
    if job.state is JobState.DONE:
        return "execution_success", ended
    error = job.error
    node = error.node if error and error.node else job.progress.node if job.progress else ""
    where = {"node_id": node, "node_type": _class_of(job, node), "executed": list(dict.fromkeys(executed))}
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


def _class_of(job: Job, node: str) -> str:
    content = (job.graph or {}).get(node)
    return str(content.get("class_type", "")) if isinstance(content, Mapping) else ""


def listed(
    job: Job,
    outputs: tuple[JobOutput, ...],
    told: Told = NOTHING_TOLD,
    types: NodeTypes | None = None,
    *,
    detailed: bool = False,
) -> dict[str, Any]:
    """A job as GET /api/jobs lists it."""
    if job.state.over:
        return finished_job(history_entry(job, outputs, told, types), modern=True, detailed=detailed)
    status = "in_progress" if job.state.active else "pending"
    return queued_job(_item(job, types), status, modern=True)
