"""What happens to a job as server-sent events: `status`, `progress`, `preview`, `output`.

The stream begins with what is now and needs no memory of earlier ones: each `progress` is complete, progress never goes
back, each output comes once, and all of them before the last `status`, after which the stream ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from comfyops.api.v2 import views
from comfyops.api.v2.views import Site
from comfyops.errors import UnknownJobError
from comfyops.jobs.job import Job, JobEvent, JobState, Progress
from comfyops.jobs.queue import Queue

_EVERY = 0.25  # seconds between two snapshots of progress, and between two previews
_BEAT = 15.0  # seconds of silence before a comment shows that the stream lives


class Stream:
    """One client's view of one job; `site` gives where its files are fetched now."""

    def __init__(self, queue: Queue, job: Job, owner: str | None, site: Callable[[], Awaitable[Site]]) -> None:
        self._queue = queue
        self._job = job
        self._owner = owner
        self._site = site
        self._status: tuple[str, int | None] | None = None
        self._value = 0.0
        self._progress = b""
        self._attempt = job.attempt
        self._shown: set[str] = set()
        self._next = {"progress": 0.0, "preview": 0.0}

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the stream."""
        for frame in await self._look():
            yield frame
        if self._job.state.over:
            return
        source = self._queue.events(self._job.id, self._owner)
        async with contextlib.aclosing(_with_beats(source)) as events:
            async for event in events:
                if event is None:
                    yield b": alive\n\n"
                    continue
                for frame in await self._frames_of(event):
                    yield frame
                if self._job.state.over:
                    return
        for frame in await self._look():
            yield frame

    async def _frames_of(self, event: JobEvent) -> list[bytes]:
        if event.type in ("state", "outputs"):
            return await self._look()
        if event.type == "preview" and self._due("preview"):
            return [_frame("preview", _preview(event))]
        if event.type in ("node", "progress"):
            self._move(event)
            return self._snapshot() if self._due("progress") else []
        return []

    def _move(self, event: JobEvent) -> None:
        """Note where the run is now; the database knows it only from time to time."""
        known = {
            name: event.data[name] for name in ("node", "value", "maximum", "nodes_done", "nodes") if name in event.data
        }
        if event.type == "node":
            known |= {"value": 0, "maximum": 0}
        self._job = replace(self._job, progress=replace(self._job.progress or Progress(), **known))

    def _due(self, name: str) -> bool:
        now = time.monotonic()
        if now < self._next[name]:
            return False
        self._next[name] = now + _EVERY
        return True

    async def _look(self) -> list[bytes]:
        """What changed since the last look, outputs first: an ended job's status is the last that a client reads."""
        try:
            self._job = await self._queue.get(self._job.id, self._owner)
        except UnknownJobError:  # it was deleted meanwhile
            return []
        frames = [*self._snapshot(), *await self._outputs()]
        position = await self._queue.place(self._job.id) + 1 if self._job.state is JobState.WAITING else None
        now = (views.status(self._job), position)
        if now != self._status:
            self._status = now
            frames.append(
                _frame("status", {"status": now[0], **({} if now[1] is None else {"queue_position": now[1]})})
            )
        return frames

    async def _outputs(self) -> list[bytes]:
        if not self._job.outputs_count and not self._job.state.over:
            return []
        site = await self._site()
        found = [views.output(item, site) for item in await self._queue.outputs(self._job.id)]
        new = [item for item in found if item.id not in self._shown]
        self._shown.update(item.id for item in new)
        return [_frame("output", item.model_dump()) for item in new]

    def _snapshot(self) -> list[bytes]:
        now = views.progress(self._job)
        if now is None:
            return []
        if self._job.attempt != self._attempt:  # it begins anew, elsewhere
            self._attempt, self._value = self._job.attempt, 0.0
        self._value = max(self._value, now.value)
        frame = _frame("progress", {**now.model_dump(), "value": self._value})
        if frame == self._progress:
            return []
        self._progress = frame
        return [frame]


def _preview(event: JobEvent) -> dict[str, Any]:
    return {
        "node_id": str(event.data.get("node", "")),
        "content_type": event.data.get("mime_type", "image/jpeg"),
        "data_base64": base64.b64encode(event.blob).decode(),
    }


def _frame(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def _with_beats(source: AsyncIterator[JobEvent]) -> AsyncGenerator[JobEvent | None, None]:
    """The events of a source, and None where nothing came for a while."""
    coming = asyncio.ensure_future(anext(source, None))
    try:
        while True:
            done, _ = await asyncio.wait((coming,), timeout=_BEAT)
            if not done:
                yield None
                continue
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(source, None))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await coming
