"""The routes below /ops/fleet: the backends that jobs go to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from comfyops.api.ops.backends import Known
from comfyops.jobs.examining import examine
from comfyops.jobs.fleet import BackendRow
from comfyops.jobs.queue import Queue

_TEXT = 500


class Addition(BaseModel):
    """A backend to add: its address; where wanted a name, the token it is sent, and labels that jobs may ask for."""

    url: str = Field(max_length=2000)
    name: str = Field(default="", max_length=100)
    token: str = Field(default="", max_length=4096)
    tags: list[str] = Field(default=[], max_length=100)


class Why(BaseModel):
    """Why a backend is to take no more jobs."""

    reason: str = Field(default="", max_length=_TEXT)


class Patience(BaseModel):
    """How long a tiny picture may take, in seconds."""

    seconds: float = Field(default=30.0, gt=0, le=600)


def router(queue: Queue) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/ops/fleet", tags=["fleet"])

    @routes.get("")
    async def ls() -> dict[str, Any]:
        """Every backend: its state and why, its job, the models in its memory."""
        return {"backends": [shown(row) for row in await queue.fleet.ls()]}

    @routes.post("")
    async def add(body: Addition) -> dict[str, Any]:
        """Add a backend; the same name and address again changes token and labels."""
        tags = sorted({tag[:_TEXT] for tag in body.tags})
        return shown(await queue.fleet.add(body.url, name=body.name, token=body.token, tags=tags))

    @routes.post("/{name}/drain")
    async def drain(name: str, body: Why) -> dict[str, Any]:
        """Give it no more jobs; what it runs goes on."""
        return shown(await queue.fleet.drain(name, reason=body.reason))

    @routes.post("/{name}/pause")
    async def pause(name: str, body: Why) -> dict[str, Any]:
        """The same, meant for a while."""
        return shown(await queue.fleet.pause(name, reason=body.reason))

    @routes.post("/{name}/resume")
    async def resume(name: str) -> dict[str, Any]:
        """Give a drained, paused or quarantined backend jobs again, once it answers."""
        return shown(await queue.fleet.resume(name))

    @routes.post("/{name}/remove")
    async def remove(name: str) -> dict[str, Any]:
        """Forget a backend that has no job."""
        await queue.fleet.remove(name)
        return {"removed": name}

    @routes.post("/{name}/test")
    async def test(name: str, body: Patience) -> dict[str, Any]:
        """Ask it what it is, and have it make a tiny picture."""
        found = await examine(queue, name, body.seconds)
        return {**asdict(found), "good": found.good}

    return routes


def by_address(queue: Queue) -> Known:
    """What gives the backends of a queue as they are told, by address."""

    async def known() -> dict[str, dict[str, Any]]:
        return {row.url: shown(row) for row in await queue.fleet.ls()}

    return known


def shown(row: BackendRow) -> dict[str, Any]:
    """A backend as it is told. Times are seconds since 1970."""
    return {
        "name": row.id,
        "url": row.url,
        "state": row.state.value,
        "reason": row.reason,
        "job": row.job,
        "loaded": row.loaded.split(" + ") if row.loaded else [],
        "tags": list(row.tags),
        "version": row.version,
        "dispatcher": row.dispatcher,
        "failures": row.failures,
        "last_seen": row.last_seen,
        "added_at": row.added_at,
    }
