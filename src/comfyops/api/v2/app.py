"""The application of the contract, to be mounted behind the gateway's door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import FastAPI, Request

from comfyops import __version__
from comfyops.api.v2 import faults, shapes
from comfyops.api.v2.assets import Assets
from comfyops.api.v2.jobs import Jobs
from comfyops.api.v2.requests import principal
from comfyops.api.v2.signed import Signed, Sites
from comfyops.api.v2.submissions import Admit
from comfyops.jobs.delivered import Delivered
from comfyops.jobs.delivery_names import DEFAULT
from comfyops.jobs.fleet import BackendState
from comfyops.jobs.queue import Queue

PREFIX = "/api/v2"
_ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": shapes.ErrorEnvelope, "description": words}
    for status, words in {
        400: "The request is not right.",
        401: "It needs a credential.",
        403: "This is not allowed.",
        404: "There is no such thing, or it is somebody else's.",
        409: "It does not fit what is.",
        410: "It is no longer there.",
        413: "It is too large.",
        422: "The workflow, an asset or the key cannot be used.",
        429: "Too much at once; see Retry-After.",
        503: "Not now.",
    }.items()
}


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API is told. `retention` in seconds, `max_upload` in bytes; see `Assets` for `folders`.

    `link_lifetime` is for how many seconds the address of a file is good, a week at most; `deliver_name` is the
    template by which copies are named (see `delivery_names`).
    """

    retention: float = 7 * 86_400.0
    max_upload: int = 100 * 1024 * 1024
    folders: Sequence[Path] = ()
    link_lifetime: float = 3600.0
    deliver_name: str = DEFAULT


def build(queue: Queue, admit: Admit, settings: ApiSettings | None = None) -> FastAPI:
    """The API over a queue; who asks must stand in `scope["state"]["principal"]`."""
    told = settings or ApiSettings()
    app = FastAPI(
        title="ComfyOps, Comfy API v2",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=_ERRORS,
    )
    faults.install(app)
    delivered = Delivered(queue.store, told.deliver_name)
    sites = Sites(queue, told.retention, told.link_lifetime)
    app.include_router(Jobs(queue, admit, sites).router(), prefix=PREFIX)
    app.include_router(Assets(queue, sites, delivered, told.folders, told.max_upload).router(), prefix=PREFIX)
    app.include_router(Signed(queue).router(), prefix=PREFIX)

    @app.get(f"{PREFIX}/health", response_model=shapes.Health, tags=["health"])
    async def health(request: Request) -> shapes.Health:
        """Whether jobs are taken and carried out."""
        principal(request)
        backends = await queue.fleet.ls()
        up = sum(backend.state is BackendState.UP for backend in backends)
        paused = await queue.paused()
        state: Literal["healthy", "degraded"] = "healthy" if up and not paused else "degraded"
        return shapes.Health(status=state, backends=len(backends), backends_up=up, paused=paused)

    return app
