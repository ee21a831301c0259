"""Errors as the contract shapes them: {"error": {"code", "message", "details"}}."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    DependencyError,
    DuplicateKeyError,
    InputError,
    JobStateError,
    MissingExtraError,
    NoBackendError,
    QueueError,
    QueueFullError,
    StorageError,
    UiFormatError,
    UnknownAssetError,
    UnknownJobError,
    UsageError,
)
from comfyops.gateway.refusal import RefusedError

log = logging.getLogger("comfyops.api")


class ApiError(Exception):
    """An answer that is an error: its status, a code of the contract, one sentence."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers: dict[str, str] = {}


# The first that fits counts.
_KINDS: tuple[tuple[type[ComfyOpsError], int, str], ...] = (
    (UnknownJobError, 404, "not_found"),
    (UnknownAssetError, 404, "not_found"),
    (DuplicateKeyError, 422, "idempotency_key_reuse"),
    (QueueFullError, 429, "queue_full"),
    (NoBackendError, 422, "no_backend"),
    (DependencyError, 422, "dependency_failed"),
    (JobStateError, 409, "job_state"),
    (UiFormatError, 422, "workflow_format_ui"),
    (UsageError, 400, "invalid_request"),
    (InputError, 422, "invalid_workflow"),
    (MissingExtraError, 501, "not_installed"),
    (StorageError, 503, "storage"),
    (QueueError, 503, "queue_unavailable"),
    (BackendError, 503, "upstream_unreachable"),
)

_REFUSED = {401: "unauthorized", 403: "forbidden", 413: "payload_too_large", 429: "too_many_requests"}
_BY_STATUS = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", **_REFUSED}


def of(error: Exception) -> ApiError:
    """The answer to an error of ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RefusedError):
        return _of_refusal(error)
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return _of_known(error, status, code)
    log.exception("a fault of the API", exc_info=error)
    return ApiError(500, "internal", "The server failed on this request.")


def _of_known(error: ComfyOpsError, status: int, code: str) -> ApiError:
    if status == 503:
        log.error("%s: %s", error.code, error.message)
        return ApiError(status, code, "The server cannot use its records now.", hint="Try again later.")
    details = {name: value for name, value in error.facts.items() if name in ("reasons", "state", "job", "limit")}
    found = ApiError(status, code, error.message, **({"hint": error.hint} if error.hint else {}), **details)
    if "retry_after" in error.facts:
        found.headers["Retry-After"] = str(max(1, round(float(error.facts["retry_after"]))))
    return found


def _of_refusal(refused: RefusedError) -> ApiError:
    code = _REFUSED.get(refused.status, "invalid_workflow")
    status = 422 if refused.status == 400 else refused.status
    nodes = {node: _reasons(found) for node, found in (refused.node_errors or {}).items()}
    details: dict[str, Any] = {"reason": refused.code}
    if nodes:
        details["node_errors"] = nodes
    if refused.details:
        details["where"] = refused.details
    found = ApiError(status, code, refused.message, **details)
    if refused.retry_after is not None:
        found.headers["Retry-After"] = str(refused.retry_after)
    return found


def _reasons(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "field": fault.get("extra_info", {}).get("input_name"),
            "reason": fault["type"],
            "message": fault["message"],
            "details": fault["details"],
        }
        for fault in found.get("errors", ())
    ]


def answer(error: ApiError) -> JSONResponse:
    """The response of an error."""
    body = {"error": {"code": error.code, "message": error.message, "details": error.details or None}}
    return JSONResponse(body, error.status, error.headers)


def install(app: FastAPI) -> None:
    """Have an application answer every error in this shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        return answer(of(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(of_validation(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(error.status_code, "invalid_request")
        found = ApiError(error.status_code, code, f"{error.detail}.".replace("..", "."))
        found.headers.update(error.headers or {})
        return answer(found)

    for kind in (ApiError, RefusedError, ComfyOpsError):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def of_validation(error: RequestValidationError) -> ApiError:
    """What is wrong with a request that has not the form of one."""
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"][1:]), "reason": fault["type"], "message": fault["msg"]}
        for fault in error.errors()
    ]
    first = faults[0] if faults else {"field": "", "message": "it has not the right form"}
    if first["field"].startswith("workflow"):
        return ApiError(422, "invalid_workflow", "The workflow is no graph in API format.", fields=faults)
    where = f"`{first['field']}`" if first["field"] else "The request"
    return ApiError(400, "invalid_request", f"{where} is not right: {first['message']}.", fields=faults)
