"""The application below /ops, and /metrics, to be mounted behind the gateway's door."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHttpError

from comfyops import __version__
from comfyops.api.ops import backends, fleet, metrics, models, quotas, schedules, webhooks
from comfyops.api.ops import queue as queue_routes
from comfyops.api.ops.backends import Backends
from comfyops.api.ops.shelf import Shelf
from comfyops.api.v2 import faults
from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.submissions import Admit
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    DependencyError,
    InputError,
    JobStateError,
    ModelError,
    NoBackendError,
    QueueError,
    ScheduleError,
    StorageError,
    UnknownBackendError,
    UnknownJobError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
)
from comfyops.gateway.refusal import RefusedError
from comfyops.jobs.queue import Queue

log = logging.getLogger("comfyops.api")

_STATUS: tuple[tuple[type[ComfyOpsError], int], ...] = (
    (UnknownModelError, 404),
    (UnknownBackendError, 404),
    (UnknownJobError, 404),
    (JobStateError, 409),
    (ScheduleError, 400),
    (NoBackendError, 422),
    (DependencyError, 422),
    (QueueError, 503),
    (UnsupportedError, 409),
    (UsageError, 400),
    (InputError, 400),
    (StorageError, 507),
    (ModelError, 502),
    (BackendError, 502),
)


_WORDS = {
    403: ("forbidden", "Only operators may do this."),
    404: ("not_found", "There is no such thing here."),
    405: ("method_not_allowed", "This cannot be done so."),
    503: ("too_many_readers", "Too many read events already."),
}


_OF_JOBS = ("queue", "fleet", "quotas", "schedules", "webhooks")
PREFIXES = tuple(f"/ops/{name}" for name in ("backends", "models", *_OF_JOBS, "openapi.json"))
"""What is served here, beside /metrics."""


@dataclass(frozen=True, slots=True)
class AtWork:
    """The queue that a gateway serves, and who judges what it is to take (see `api.v2.submissions.Admit`)."""

    queue: Queue
    admit: Admit


def build(asked: Backends, shelf: Shelf | None, work: AtWork | None = None) -> FastAPI:
    """The API. Without a shelf there is no folder of models, without `work` no queue, and their routes say so."""
    app = FastAPI(
        title="ComfyOps, operations",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/ops/openapi.json",
        dependencies=[Depends(_operator)],
    )
    app.add_exception_handler(ComfyOpsError, _known)
    for kind in (ApiError, RefusedError):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHttpError, _http)
    app.include_router(backends.router(asked, fleet.by_address(work.queue) if work is not None else None))
    app.include_router(metrics.router(asked, shelf))
    if shelf is not None:
        app.include_router(models.router(shelf))
    else:
        hint = "Start it with --comfyui-path DIR or --models-dir DIR."
        _without(app, "models", UsageError("This gateway was given no folder of models.", hint=hint))
    if work is not None:
        _include_jobs(app, work)
    else:
        hint = "Start it without --pass-through."
        for name in _OF_JOBS:
            _without(app, name, UnsupportedError("This gateway keeps no jobs.", hint=hint))
    return app


def _include_jobs(app: FastAPI, work: AtWork) -> None:
    queue = work.queue
    for module in (queue_routes, fleet, quotas, webhooks):
        app.include_router(module.router(queue))
    app.include_router(schedules.router(queue, work.admit))


def _without(app: FastAPI, name: str, error: ComfyOpsError) -> None:
    """Have the routes of a part that is not there say so."""

    async def none(rest: str = "") -> None:
        raise error

    for path in (f"/ops/{name}", f"/ops/{name}/{{rest:path}}"):
        app.add_api_route(path, none, methods=["GET", "POST"], include_in_schema=False)


def _operator(request: Request) -> None:
    """Who asks must operate the server; the gateway has seen to it, and so do we."""
    principal: Principal | None = request.scope.get("state", {}).get("principal")
    if principal is None or not principal.may(scopes.SERVER_OPERATE):
        raise HTTPException(403)


def _error(status: int, code: str, message: str, hint: str = "", details: Any = None) -> JSONResponse:
    body = {"error": {"code": code, "message": message, "hint": hint, "details": details or None}}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ComfyOpsError)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        log.error("%s: %s", error.code, error.message)
    facts = {name: value for name, value in error.facts.items() if name in ("reasons", "state", "job", "limit")}
    return _error(status, error.code, error.message, error.hint, facts)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    found = faults.of(error)
    hint = str(found.details.pop("hint", ""))
    return _error(found.status, found.code, found.message, hint, found.details)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _error(422, "invalid_request", f"{where or 'The body'}: {first['msg']}.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHttpError)
    code, words = _WORDS.get(error.status_code, ("http", str(error.detail)))
    return _error(error.status_code, code, words)
