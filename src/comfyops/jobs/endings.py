"""How an attempt ended, as a JSON value that a crash does not lose, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from comfyops.backends.events import Finished, Outcome, Output, OutputKind
from comfyops.errors import ComfyOpsError, RejectedError
from comfyops.jobs.job import JobError

End = dict[str, Any]


def cancelled() -> End:
    """Somebody wanted it stopped, and it is."""
    return {"kind": "cancelled"}


def finished(end: Finished, *, cancelled: bool) -> End:
    """It ran at the backend."""
    kinds = {Outcome.SUCCESS: "done", Outcome.FAILED: "failed", Outcome.INTERRUPTED: "lost"}
    kind = "cancelled" if cancelled and end.outcome is Outcome.INTERRUPTED else kinds[end.outcome]
    value: End = {
        "kind": kind,
        "outputs": [asdict(output) for output in end.outputs],
        "cached": end.cached,
        "started_at": end.started_at,
        "finished_at": end.finished_at,
    }
    if end.failure is not None:
        failure = end.failure
        value["error"] = {
            "code": "run_failed",
            "message": f"Node {failure.node} ({failure.class_type or 'no class'}) failed: {failure.message}",
            "node": failure.node,
            "class_type": failure.class_type,
            "exception_type": failure.exception_type,
        }
    elif kind == "lost":
        value["error"] = {"code": "run_interrupted", "message": "Somebody stopped the run at the backend."}
    return value


def failed(error: ComfyOpsError) -> End:
    """An error on the way."""
    facts = {name: error.facts[name] for name in ("type", "node_errors", "status", "seconds") if name in error.facts}
    kind = "refused" if isinstance(error, RejectedError) else "lost"
    return {"kind": kind, "error": {"code": error.code, "message": error.message, "details": facts}}


def outputs(end: Mapping[str, Any]) -> tuple[Output, ...]:
    """The outputs that the backend named."""
    return tuple(Output(**{**item, "kind": OutputKind(item["kind"])}) for item in end.get("outputs", ()))


def error(end: Mapping[str, Any], *, permanent: bool) -> JobError:
    """Why it did not end well."""
    facts = {"code": "run_lost", "message": "The run was lost.", **end.get("error", {})}
    return JobError(**facts, permanent=permanent)
