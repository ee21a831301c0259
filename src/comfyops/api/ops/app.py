"""The application below /ops, and /metrics, to be mounted behind the gateway's door."""

from __future__ import annotations

import logging

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHttpError

from comfyops import __version__
from comfyops.api.ops import backends, metrics, models
from comfyops.api.ops.backends import Backends
from comfyops.api.ops.shelf import Shelf
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    InputError,
    ModelError,
    StorageError,
    UnknownBackendError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
)

log = logging.getLogger("comfyops.api")

_STATUS: tuple[tuple[type[ComfyOpsError], int], ...] = (
    (UnknownModelError, 404),
    (UnknownBackendError, 404),
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


def build(asked: Backends, shelf: Shelf | None) -> FastAPI:
    """The API. Without a shelf there is no folder of models, and its routes say so."""
    app = FastAPI(
        title="ComfyOps, operations",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/ops/openapi.json",
        dependencies=[Depends(_operator)],
    )
    app.add_exception_handler(ComfyOpsError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHttpError, _http)
    app.include_router(backends.router(asked))
    app.include_router(metrics.router(asked, shelf))
    if shelf is not None:
        app.include_router(models.router(shelf))
    else:

        @app.api_route("/ops/models/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
        async def none(rest: str) -> None:
            hint = "Start it with --comfyui-path DIR or --models-dir DIR."
            raise UsageError("This gateway was given no folder of models.", hint=hint)

    return app


def _operator(request: Request) -> None:
    """Who asks must operate the server; the gateway has seen to it, and so do we."""
    principal: Principal | None = request.scope.get("state", {}).get("principal")
    if principal is None or not principal.may(scopes.SERVER_OPERATE):
        raise HTTPException(403)


def _error(status: int, code: str, message: str, hint: str = "") -> JSONResponse:
    body = {"error": {"code": code, "message": message, "hint": hint}}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ComfyOpsError)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        log.error("%s: %s", error.code, error.message)
    return _error(status, error.code, error.message, error.hint)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _error(422, "invalid_request", f"{where or 'The body'}: {first['msg']}.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHttpError)
    code, words = _WORDS.get(error.status_code, ("http", str(error.detail)))
    return _error(error.status_code, code, words)
