"""The routes below /ops/webhooks: what was told of jobs that ended, and telling it once more."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Query

from comfyops.api.v2.shapes import NO_NUL
from comfyops.jobs.queue import Queue
from comfyops.jobs.webhooks import Webhooks


def router(queue: Queue) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/ops/webhooks", tags=["webhooks"])
    webhooks = Webhooks(queue.store)

    @routes.get("")
    async def ls(
        job: str | None = Query(None, max_length=100, pattern=NO_NUL),
        state: Literal["waiting", "delivered", "failed"] | None = None,
        limit: int = Query(100, ge=1, le=1000),
    ) -> dict[str, Any]:
        """Messages to webhooks, newest first; times are seconds since 1970."""
        return {"messages": [asdict(told) for told in await webhooks.ls(job=job, state=state, limit=limit)]}

    @routes.post("/{message}/replay")
    async def replay(message: str) -> dict[str, Any]:
        """Send a message once more, whatever came of it."""
        return asdict(await webhooks.replay(message))

    return routes
