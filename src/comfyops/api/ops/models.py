"""The routes below /ops/models: check, plan, fetch, steer, by hand, by ComfyUI-Manager; progress as events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from comfyops.api.ops.shelf import Shelf, choice, plan_data
from comfyops.models.catalog import Choice
from comfyops.models.downloads import Download, Events

Verb = Literal["pause", "resume", "cancel", "retry"]

_LOOK = 1.0  # seconds that one wait for news takes in a thread
_ALIVE = 10.0  # seconds without news after which the client is sent a sign of life
_READERS = 50  # of events at once; each waits in a thread of its own
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Chosen(BaseModel):
    """Which models are meant: by name, by set or template; nothing means the sets that come first in the document."""

    models: list[str] = Field(default=[], max_length=500)
    groups: list[str] = Field(default=[], max_length=50)
    include_optional: bool = False

    def choice(self) -> Choice:
        """As the domain knows it."""
        return choice(self.models, self.groups, optional=self.include_optional)


class ByManager(Chosen):
    """Models, and the backend whose ComfyUI-Manager is to fetch them."""

    server: str


class One(BaseModel):
    """One file of the downloads, by its model's id; all where none is named."""

    model: str | None = None


def router(shelf: Shelf) -> APIRouter:
    """The routes. Those that read disks or ask sources run in threads."""
    routes = APIRouter(prefix="/ops/models", tags=["models"])
    _looking(routes, shelf)
    _fetching(routes, shelf)
    _otherwise(routes, shelf)
    return routes


def _looking(routes: APIRouter, shelf: Shelf) -> None:
    @routes.get("/groups")
    def groups() -> dict[str, Any]:
        """The sets of models, and the official templates."""
        return {"groups": shelf.groups()}

    @routes.get("/check")
    def check(
        group: list[str] = Query(default=[], max_length=50),
        model: list[str] = Query(default=[], max_length=500),
        include_optional: bool = False,
    ) -> dict[str, Any]:
        """What is there and what is missing; sizes, headers and remembered hashes are compared."""
        return shelf.check(choice(model, group, optional=include_optional))

    @routes.post("/verify")
    def verify(body: Chosen) -> dict[str, Any]:
        """Read every byte of the models."""
        return shelf.check(body.choice(), deep=True)

    @routes.post("/plan")
    def plan(body: Chosen) -> dict[str, Any]:
        """What a download would fetch, and what cannot be had."""
        return plan_data(shelf.plan(body.choice()))


def _fetching(routes: APIRouter, shelf: Shelf) -> None:
    readers = CapacityLimiter(_READERS)

    @routes.get("/downloads")
    def downloads() -> dict[str, Any]:
        """Every file of the downloads as it is now."""
        return {"downloads": [item.documented() for item in shelf.downloads.snapshot()]}

    @routes.post("/downloads", status_code=202)
    def start(body: Chosen) -> dict[str, Any]:
        """Fetch what is missing; progress comes by /ops/models/events."""
        return plan_data(shelf.start(body.choice()))

    @routes.post("/downloads/{verb}")
    def steer(verb: Verb, body: One) -> dict[str, Any]:
        """Pause, resume, cancel or retry one file, or all."""
        getattr(shelf.downloads, verb)(body.model)
        return downloads()

    @routes.get("/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        """Server-sent events `download`: all files first, then each that moves; slow readers miss steps, not ends."""
        if readers.available_tokens < 1:
            raise HTTPException(503)
        return StreamingResponse(_events(shelf, readers), media_type="text/event-stream", headers=_HEADERS)


def _otherwise(routes: APIRouter, shelf: Shelf) -> None:
    @routes.post("/manual")
    def manual(body: Chosen) -> dict[str, Any]:
        """For each model its addresses and its place, and whether the file has come; ask again to watch."""
        return {"steps": shelf.steps(body.choice())}

    @routes.post("/manager", status_code=202)
    def by_manager(body: ByManager) -> dict[str, Any]:
        """Have ComfyUI-Manager fetch the models, where a backend has it."""
        return asdict(shelf.by_manager(body.choice(), body.server))

    @routes.get("/manager")
    def errand() -> dict[str, Any]:
        """What became of the last such request."""
        found = shelf.errand()
        return {"errand": asdict(found) if found else None}


async def _events(shelf: Shelf, readers: CapacityLimiter) -> AsyncIterator[str]:
    with shelf.downloads.subscribe() as seen:
        for item in shelf.downloads.snapshot():
            yield _event(item)
        yield ": all\n\n"
        quiet = 0.0
        while True:
            fresh = await to_thread.run_sync(_news, seen, abandon_on_cancel=True, limiter=readers)
            for item in fresh:
                yield _event(item)
            quiet = 0.0 if fresh else quiet + _LOOK
            if quiet >= _ALIVE:
                quiet = 0.0
                yield ": alive\n\n"
            await asyncio.sleep(0.1)  # gathers what moves at once


def _news(seen: Events) -> tuple[Download, ...]:
    return seen.next(_LOOK)


def _event(item: Download) -> str:
    return f"event: download\ndata: {json.dumps(item.documented())}\n\n"
