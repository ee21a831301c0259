"""GET /metrics: backends, downloads and the health of models as figures for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from anyio import to_thread
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from comfyops.api.ops.backends import Backends, Look
from comfyops.api.ops.shelf import Shelf
from comfyops.models import health
from comfyops.models.catalog import Choice
from comfyops.models.transfer.request import Status
from comfyops.support.prometheus import Family, sample, text

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def router(asked: Backends, shelf: Shelf | None) -> APIRouter:
    """The route. Backends are asked, models looked at without reading them; nothing is fetched."""
    routes = APIRouter(tags=["metrics"])

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """The figures, in Prometheus' text format."""
        figures = text(of_backends(await asked.all()))
        if shelf is not None:
            figures += text([of_downloads(shelf)]) + await to_thread.run_sync(_of_models, shelf)
        return PlainTextResponse(figures, media_type=_TYPE)

    return routes


def of_backends(looks: Sequence[Look]) -> list[Family]:
    """Which backends answer, what waits there, and the memory of their devices."""
    up = [sample(int(item.state in ("ok", "busy")), backend=item.url) for item in looks]
    runs = [
        sample(count, backend=item.url, state=state)
        for item in looks
        for state, count in (("running", item.running), ("waiting", item.waiting))
        if count is not None
    ]
    seen = [(item.url, str(number), device) for item in looks for number, device in enumerate(item.devices or ())]
    memory = [
        sample(size, backend=url, device=number, kind=kind)
        for url, number, device in seen
        for kind, size in (("total", device.vram_total), ("free", device.vram_free))
    ]
    last = [sample(item.last_seen, backend=item.url) for item in looks if item.last_seen is not None]
    return [
        Family("comfyops_backend_up", "Whether a backend answers as ComfyUI does.", up),
        Family("comfyops_backend_runs", "Runs in the queue of a backend.", runs),
        Family("comfyops_backend_vram_bytes", "Memory of a backend's device.", memory),
        Family("comfyops_backend_seen_seconds", "Time of a backend's last answer, in seconds since 1970.", last),
    ]


def of_downloads(shelf: Shelf) -> Family:
    """How many files are in which state."""
    counted = Counter(item.progress.status for item in shelf.downloads.snapshot())
    states = [sample(counted[status], status=status) for status in get_args(Status)]
    return Family("comfyops_downloads", "Files of the downloads of this process, by status.", states)


def _of_models(shelf: Shelf) -> str:
    provision = shelf.provision()
    return health.figures(provision.check(shelf.wanted(Choice())))
