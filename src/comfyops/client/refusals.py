"""What an answer of a gateway that is an error means, as errors of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyops import errors as e

_OWN = {kind.code: kind for kind in e.all_errors()}
"""The operators' routes answer with our own codes."""

_CONTRACT: Mapping[str, type[e.ComfyOpsError]] = {
    "not_found": e.UnknownJobError,
    "blob_not_found": e.UnknownAssetError,
    "missing_asset": e.UnknownAssetError,
    "idempotency_key_reuse": e.DuplicateKeyError,
    "queue_full": e.QueueFullError,
    "too_many_requests": e.QueueFullError,
    "no_backend": e.NoBackendError,
    "dependency_failed": e.DependencyError,
    "job_state": e.JobStateError,
    "workflow_format_ui": e.UiFormatError,
    "invalid_request": e.UsageError,
    "invalid_workflow": e.RejectedError,
    "payload_too_large": e.RejectedError,
    "forbidden": e.RejectedError,
    "hash_mismatch": e.IntegrityError,
    "output_unavailable": e.OutputGoneError,
    "not_installed": e.MissingExtraError,
    "unauthorized": e.LoginRequiredError,
    "unauthenticated": e.LoginRequiredError,
    "queue_unavailable": e.UnreachableError,
    "upstream_unreachable": e.UnreachableError,
}

_STATUS: Mapping[int, type[e.ComfyOpsError]] = {
    401: e.LoginRequiredError,
    429: e.QueueFullError,
    502: e.UnreachableError,
    503: e.UnreachableError,
    504: e.UnreachableError,
}

_HINTS = {"forbidden": "Ask for a token whose role may do this.", "not_found": "List them with `comfyops jobs ls`."}


def translate(status: int, body: Any, retry_after: str, url: str, route: str) -> e.ComfyOpsError:
    """The error of ours for an answer; facts: `status`, what its details say, `retry_after` in seconds."""
    found = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(found.get("code"), str):
        return _unshaped(status, url, route)
    code, words = found["code"], str(found.get("message") or f"It refused with {status}.")
    details = found.get("details")
    facts = {str(name): value for name, value in details.items()} if isinstance(details, Mapping) else {}
    hint = facts.pop("hint", None) or found.get("hint") or _HINTS.get(code)
    facts |= {"status": status, **({"retry_after": float(retry_after)} if retry_after.isdigit() else {})}
    return _kind(status, code, route)(words, hint=hint, **facts)


def _kind(status: int, code: str, route: str) -> type[e.ComfyOpsError]:
    if code == "not_found" and "/assets" in route:
        return e.UnknownAssetError
    if code == "storage" and status == 503:
        return e.UnreachableError
    return _CONTRACT.get(code) or _STATUS.get(status) or _OWN.get(code) or e.BackendError


def _unshaped(status: int, url: str, route: str) -> e.ComfyOpsError:
    kind = _STATUS.get(status)
    if kind is e.LoginRequiredError:
        return kind(f"{url} asks for a login ({status}).", status=status)
    if kind is not None:
        return kind(f"{url} answers {status}: it cannot do this now.", status=status)
    words = f"{url} answers {route} with {status}: it is no ComfyOps gateway that keeps jobs."
    return e.UnsupportedError(words, hint="Give the address of `comfyops serve`.", status=status)
