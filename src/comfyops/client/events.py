"""The events of a job: a stream that is opened again where it breaks, with a look at the job in between."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from comfyops.client.http import GatewayHttp
from comfyops.client.values import OVER, Event, Job, JobOutput, JobProgress, pick
from comfyops.errors import UnreachableError

_LONGEST_PAUSE = 5.0  # seconds between two tries to open the stream
_LONGEST_LINE = 64 * 1024 * 1024  # bytes; a preview stands in one line

Look = Callable[[], Awaitable[Job]]


class Follower:
    """Follows one job. A stream begins with what is now, so what was told already is left out."""

    def __init__(self, http: GatewayHttp, job_id: str, look: Look) -> None:
        self._http = http
        self._job = job_id
        self._look = look
        self._outputs: set[str] = set()
        self._last: tuple[str, int | None] | None = None
        self._progress: JobProgress | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Every event, in order, until the job is over; each output once. Raises as a request does."""
        pause = 0.1
        while True:
            try:
                async for event in self._stream():
                    pause = 0.1
                    if self._is_new(event):
                        yield event
                    if event.status in OVER:
                        return
            except UnreachableError:
                pass  # the look below says whether it is away for good
            job = await self._look()
            for event in _events_of(job):
                if self._is_new(event):
                    yield event
            if job.over:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _stream(self) -> AsyncIterator[Event]:
        async with self._http.stream(f"/api/v2/jobs/{self._job}/events") as content:
            async for name, data in _frames(content):
                event = _event(self._job, name, data)
                if event is not None:
                    yield event

    def _is_new(self, event: Event) -> bool:
        """Whether this was not told before; notes it."""
        if event.output is not None:
            new = event.output.id not in self._outputs
            self._outputs.add(event.output.id)
            return new
        if event.type == "status":
            now = (event.status, event.queue_position)
            new, self._last = now != self._last, now
            return new
        if event.type == "progress":
            new, self._progress = event.progress != self._progress, event.progress
            return new
        return True


async def _frames(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """Name and JSON of each server-sent event."""
    name, lines = "", list[bytes]()
    async for line in _lines(content):
        if not line:
            if lines:
                yield name, _json(b"\n".join(lines))
            name, lines = "", []
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode(errors="replace")
        elif line.startswith(b"data:"):
            lines.append(line[5:].lstrip())


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in content.iter_any():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
        if len(rest) > _LONGEST_LINE:
            raise UnreachableError("The gateway sends an event that is larger than any.")


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _event(job: str, name: str, data: Any) -> Event | None:
    """The event that a frame stands for; None for one of a kind that is not known here."""
    if not isinstance(data, Mapping):
        return None
    if name == "status":
        return Event("status", job, status=str(data.get("status", "")), queue_position=data.get("queue_position"))
    if name == "progress":
        return Event("progress", job, progress=pick(JobProgress, data))
    if name == "output":
        return Event("output", job, output=pick(JobOutput, data))
    if name == "preview":
        return _preview(job, data)
    return None


def _preview(job: str, data: Mapping[str, Any]) -> Event | None:
    try:
        blob = base64.b64decode(data.get("data_base64", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None
    node, mime = str(data.get("node_id", "")), str(data.get("content_type", ""))
    return Event("preview", job, node_id=node, content_type=mime, blob=blob)


def _events_of(job: Job) -> list[Event]:
    """What a look at a job tells, the status last."""
    progress = [Event("progress", job.id, progress=job.progress)] if job.progress else []
    outputs = [Event("output", job.id, output=output) for output in job.outputs]
    return [*progress, *outputs, Event("status", job.id, status=job.status, queue_position=job.queue_position)]
