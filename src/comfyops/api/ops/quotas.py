"""The routes below /ops/quotas: how much each owner may have."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from comfyops.api.v2.shapes import NO_NUL
from comfyops.jobs.queue import Queue
from comfyops.jobs.quotas import Quota

_MOST = 1_000_000


class Limits(BaseModel):
    """What an owner may have; null = no limit. An owner of twice the weight gets twice the turns."""

    owner: str = Field(min_length=1, max_length=200, pattern=NO_NUL)
    max_running: int | None = Field(default=None, ge=0, le=_MOST)
    max_waiting: int | None = Field(default=None, ge=0, le=_MOST)
    weight: float = Field(default=1.0, gt=0, le=_MOST)


class Owner(BaseModel):
    """Whose quota."""

    owner: str = Field(min_length=1, max_length=200, pattern=NO_NUL)


def router(queue: Queue) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/ops/quotas", tags=["quotas"])

    @routes.get("")
    async def ls() -> dict[str, Any]:
        """Every quota that was set."""
        return {"quotas": [asdict(quota) for quota in await queue.quotas.ls()]}

    @routes.post("")
    async def put(body: Limits) -> dict[str, Any]:
        """Set the quota of an owner."""
        quota = Quota(body.owner, body.max_running, body.max_waiting, body.weight)
        await queue.quotas.set(quota)
        return asdict(quota)

    @routes.post("/remove")
    async def remove(body: Owner) -> dict[str, Any]:
        """Set an owner back to no limits of its own."""
        await queue.quotas.remove(body.owner)
        return {"removed": body.owner}

    return routes
