"""The routes below /ops/queue: how many jobs are in each state, and whether new ones begin."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter

from comfyops.jobs.queue import Queue


def router(queue: Queue) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/ops/queue", tags=["queue"])

    @routes.get("")
    async def stats() -> dict[str, Any]:
        """How many jobs are in each state, and how many backends."""
        backends = Counter(row.state.value for row in await queue.fleet.ls())
        return {"paused": await queue.paused(), "jobs": await queue.stats(), "backends": dict(backends)}

    @routes.post("/pause")
    async def pause() -> dict[str, Any]:
        """Begin no more jobs; running ones go on, new ones are taken."""
        await queue.pause()
        return await stats()

    @routes.post("/resume")
    async def resume() -> dict[str, Any]:
        """Begin jobs again."""
        await queue.resume()
        return await stats()

    @routes.post("/revoke-links", status_code=204)
    async def revoke_links() -> None:
        """Have every signed link to a file that was given out until now be worth nothing."""
        await queue.link_keys.rotate()

    return routes
