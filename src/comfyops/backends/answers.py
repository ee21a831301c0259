"""HTTP answers of a ComfyUI server, made into values. Pure: no input or output.

Source: answers recorded from ComfyUI 0.33.0 and 0.8.0. Every function takes parsed JSON and raises
NotComfyUIError where it has another shape than ComfyUI's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from comfyops.backends.backend import Device, JobSummary, QueuedRun, SystemStats
from comfyops.backends.events import Failure, Finished, NodeFault, Outcome, Output, Queued
from comfyops.backends.outputs import outputs_of_node
from comfyops.errors import NotComfyUIError, RejectedError

_MAX_WORDS = 240


def queued(data: object, run_id: str) -> Queued:
    """The answer to POST /prompt; where the server does not repeat the id, `run_id` is taken."""
    answer = _mapping(data, "POST /prompt")
    number = answer.get("number")
    if "prompt_id" not in answer and number is None:
        raise _unexpected("POST /prompt")
    faults = node_faults(answer.get("node_errors"))
    dropped = dict.fromkeys(output for fault in faults for output in fault.outputs)
    return Queued(str(answer.get("prompt_id") or run_id), _number(number), faults, tuple(dropped))


def rejection(data: object) -> RejectedError:
    """The error for a refused POST /prompt, in one sentence; facts: `type`, `node_errors`."""
    answer = data if isinstance(data, Mapping) else {}
    error = answer.get("error")
    error = error if isinstance(error, Mapping) else {"message": str(error or "no reason given")}
    faults = node_faults(answer.get("node_errors"))
    if faults:
        reason = _fault_words(faults[0])
        reason += f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    else:
        reason = _words(error.get("message"), error.get("details"))
    return RejectedError(
        f"The server refused the workflow: {reason.rstrip('.')}.",
        type=str(error.get("type") or ""),
        node_errors=[asdict(fault) for fault in faults],
    )


def node_faults(data: object) -> tuple[NodeFault, ...]:
    """The `node_errors` of an answer, one value for each error."""
    faults: list[NodeFault] = []
    for node, entry in data.items() if isinstance(data, Mapping) else ():
        errors = entry.get("errors") if isinstance(entry, Mapping) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, Mapping):
                faults.append(_fault(str(node), entry, error))
    return tuple(faults)


def queue(data: object) -> tuple[QueuedRun, ...]:
    """The answer to GET /queue: the running entries, then the pending ones in the order in which they run."""
    answer = _mapping(data, "GET /queue")
    if "queue_running" not in answer or "queue_pending" not in answer:
        raise _unexpected("GET /queue")
    running = [_queued_run(item, True) for item in _list(answer["queue_running"], "GET /queue")]
    pending = [_queued_run(item, False) for item in _list(answer["queue_pending"], "GET /queue")]
    return (*running, *sorted(pending, key=lambda run: run.number))


def history(data: object, run_id: str) -> tuple[Finished, float] | None:
    """One entry of GET /history and the run's number; None where it is not there."""
    entry = _mapping(data, "GET /history").get(run_id)
    if entry is None:
        return None
    entry = _mapping(entry, "GET /history")
    prompt = entry.get("prompt")
    prompt = prompt if isinstance(prompt, list) else []
    return _finished(run_id, entry, prompt), _number(prompt[0] if prompt else 0)


def history_jobs(data: object) -> list[JobSummary]:
    """The entries of GET /history as jobs, newest first; for servers without the jobs API."""
    statuses = {Outcome.SUCCESS: "completed", Outcome.FAILED: "failed", Outcome.INTERRUPTED: "cancelled"}
    summaries = []
    for run_id, entry in _mapping(data, "GET /history").items():
        found = history({run_id: entry}, run_id)
        if found:
            end = found[0]
            files = sum(1 for output in end.outputs if output.filename)
            summaries.append(JobSummary(run_id, statuses[end.outcome], end.started_at, files))
    return summaries[::-1]


def jobs(data: object) -> tuple[JobSummary, ...]:
    """The answer to GET /api/jobs."""
    entries = _list(_mapping(data, "GET /api/jobs").get("jobs"), "GET /api/jobs")
    return tuple(_job(_mapping(entry, "GET /api/jobs")) for entry in entries)


def system_stats(data: object) -> SystemStats:
    """The answer to GET /system_stats."""
    where = "GET /system_stats"
    answer = _mapping(data, where)
    system = _mapping(answer.get("system"), where)
    devices = [_mapping(device, where) for device in _list(answer.get("devices", []), where)]
    return SystemStats(
        version=str(system.get("comfyui_version") or ""),
        python_version=str(system.get("python_version") or ""),
        os=str(system.get("os") or ""),
        ram_total=int(_number(system.get("ram_total"))),
        ram_free=int(_number(system.get("ram_free"))),
        devices=tuple(_device(device) for device in devices),
    )


def uploaded(data: object) -> tuple[str, str]:
    """(name, subfolder) of an uploaded file, as the server named it."""
    answer = _mapping(data, "the upload")
    if not isinstance(answer.get("name"), str) or not answer["name"]:
        raise _unexpected("the upload")
    return answer["name"], str(answer.get("subfolder") or "")


def plain_error(data: object) -> str:
    """The words of an error answer in one of ComfyUI's shapes: a text, {"error": text}, {"error": {"message"}}."""
    error = data.get("error") if isinstance(data, Mapping) else data
    if isinstance(error, Mapping):
        return _words(error.get("message"), error.get("details"))
    return _words(error)


def _finished(run_id: str, entry: Mapping[str, Any], prompt: list[Any]) -> Finished:
    status = entry.get("status")
    status = status if isinstance(status, Mapping) else {}
    messages = dict(_messages(status.get("messages")))
    outcome = Outcome.SUCCESS if status.get("status_str", "success") == "success" else Outcome.FAILED
    if "execution_interrupted" in messages:
        outcome = Outcome.INTERRUPTED
    end = next((messages[name] for name in reversed(messages) if name not in _NOT_THE_END), {})
    return Finished(
        run_id,
        outcome,
        _outputs(entry.get("outputs")),
        cached=outcome is Outcome.SUCCESS and _is_cached(messages.get("execution_cached", {}), prompt),
        failure=_failure(messages.get("execution_error")) if outcome is Outcome.FAILED else None,
        started_at=_seconds(messages.get("execution_start", {}).get("timestamp")),
        finished_at=_seconds(end.get("timestamp")),
    )


_NOT_THE_END = ("execution_start", "execution_cached")


def _messages(data: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for item in data if isinstance(data, list) else ():
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Mapping):
            yield item[0], item[1]


def _outputs(data: object) -> tuple[Output, ...]:
    nodes = data.items() if isinstance(data, Mapping) else ()
    return tuple(dict.fromkeys(output for node, ui in nodes for output in outputs_of_node(str(node), ui)))


def _is_cached(message: Mapping[str, Any], prompt: list[Any]) -> bool:
    """Whether every output node that was to run came from the cache; then nothing else ran either."""
    wanted = prompt[4] if len(prompt) > 4 and isinstance(prompt[4], list) else []
    nodes = message.get("nodes")
    return bool(wanted) and isinstance(nodes, list) and set(map(str, wanted)) <= set(map(str, nodes))


def _failure(message: Mapping[str, Any] | None) -> Failure:
    facts = message or {}
    return Failure(
        node=str(facts.get("node_id") or ""),
        class_type=str(facts.get("node_type") or ""),
        exception_type=str(facts.get("exception_type") or ""),
        message=str(facts.get("exception_message") or "The server does not say why.").strip(),
    )


def _fault(node: str, entry: Mapping[str, Any], error: Mapping[str, Any]) -> NodeFault:
    extra, outputs = error.get("extra_info"), entry.get("dependent_outputs")
    return NodeFault(
        node=node,
        class_type=str(entry.get("class_type") or ""),
        code=str(error.get("type") or ""),
        message=str(error.get("message") or ""),
        details=_words(error.get("details")),
        input=str(extra.get("input_name") or "") if isinstance(extra, Mapping) else "",
        outputs=tuple(map(str, outputs)) if isinstance(outputs, list) else (),
    )


def _fault_words(fault: NodeFault) -> str:
    return f"node {fault.node} ({fault.class_type or 'no class'}): {_words(fault.message, fault.details)}"


def _words(*parts: object) -> str:
    """Texts of a server as the end of one sentence: one line, not too long, "" left out."""
    texts = [" ".join(part.split()).rstrip(".") for part in parts if isinstance(part, str) and part.strip()]
    words = ": ".join(texts)
    return words if len(words) <= _MAX_WORDS else words[:_MAX_WORDS] + "…"


def _queued_run(item: object, running: bool) -> QueuedRun:
    if not isinstance(item, list) or len(item) < 2:
        raise _unexpected("GET /queue")
    extra = item[3] if len(item) > 3 and isinstance(item[3], Mapping) else {}
    client_id = extra.get("client_id")
    return QueuedRun(str(item[1]), _number(item[0]), running, client_id if isinstance(client_id, str) else "")


def _job(entry: Mapping[str, Any]) -> JobSummary:
    return JobSummary(
        str(entry.get("id")),
        str(entry.get("status")),
        _seconds(entry.get("create_time")),
        int(_number(entry.get("outputs_count"))),
    )


def _device(device: Mapping[str, Any]) -> Device:
    return Device(
        str(device.get("name") or ""),
        str(device.get("type") or ""),
        int(_number(device.get("vram_total"))),
        int(_number(device.get("vram_free"))),
    )


def _seconds(milliseconds: object) -> float | None:
    known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    return milliseconds / 1000 if known else None  # type: ignore[operator]


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _mapping(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _unexpected(where, data)
    return data


def _list(data: object, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise _unexpected(where, data)
    return data


def _unexpected(where: str, data: object = None) -> NotComfyUIError:
    shown = "" if data is None else f" ({json.dumps(data, default=str)[:60]})"
    return NotComfyUIError(f"The answer to {where} is not what a ComfyUI server gives{shown}.")
