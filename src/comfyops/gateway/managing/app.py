"""The application that is mounted behind the gateway's door; whoever reaches a route has the scope it needs."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.errors import AuthError, ComfyOpsError, LastAdministratorError, StorageError, UsageError
from comfyops.gateway.managing import access, own, record
from comfyops.gateway.managing.caller import House
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.refusal import RefusedError

PREFIXES = ("/auth/tokens", "/auth/users", "/auth/roles", "/auth/sessions", "/auth/own", "/audit")


def mounts(store: Store, audit: AuditLog, kept: AuditStore, settings: AuthSettings) -> Mapping[str, ASGIApp]:
    """The application, by each prefix that it serves."""
    return dict.fromkeys(PREFIXES, application(House(store, audit, kept, settings)))


def application(house: House) -> FastAPI:
    """The application; its callers are in `scope["state"]`."""
    app = FastAPI(title="ComfyOps access", docs_url=None, redoc_url=None, dependencies=[Depends(_not_stored)])
    app.state.house = house
    for router in (access.router, own.router, record.router):
        app.include_router(router)
    app.add_exception_handler(AuthError, _wrong)
    app.add_exception_handler(UsageError, _wrong)
    app.add_exception_handler(StorageError, _storage_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RefusedError, _refused)
    return app


def _not_stored(response: Response) -> None:
    response.headers["cache-control"] = "no-store"


async def _wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComfyOpsError)
    status = 409 if isinstance(error, LastAdministratorError) else 400
    return _said(RefusedError(status, error.code, error.message, details=error.hint or ""))


async def _storage_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StorageError)
    return _said(RefusedError(503, error.code, "The gateway cannot use its records now."))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return _said(RefusedError(400, "invalid_request", f"{where[:100]}: {first['msg']}."))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _said(RefusedError(405, "method_not_allowed", "That cannot be done with this."))
    return _said(RefusedError(error.status_code, "not_found", "There is no such thing here."))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _said(error)


def _said(refused: RefusedError) -> Response:
    headers = {"cache-control": "no-store"} | {name.decode(): value.decode() for name, value in refused.headers()}
    return Response(refused.body(), refused.status, headers, "application/json")
