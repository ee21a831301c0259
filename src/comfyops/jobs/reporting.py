"""What a run tells while it goes on: to watchers at once, to the database what shall last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import update

from comfyops.backends.events import (
    Cached,
    Event,
    NodeFinished,
    NodeStarted,
    NodeText,
    Preview,
    Started,
)
from comfyops.backends.events import Progress as Step
from comfyops.errors import QueueError, StorageError
from comfyops.jobs import schema, transitions
from comfyops.jobs.job import Job, JobEvent, Progress
from comfyops.jobs.queue import Queue
from comfyops.jobs.rows import dump
from comfyops.jobs.store import Tx

_EVERY = 1.0  # seconds between two writes of a job's progress

_j = schema.jobs.c


class Reporter:
    """Takes the events of one run. What cannot be written is only missing from the record: the run goes on."""

    def __init__(self, queue: Queue, job: Job) -> None:
        self._queue = queue
        self._job = job
        self._progress = Progress(nodes=len(job.graph or {}))
        self._done: set[str] = set()
        self._written = 0.0

    async def take(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, Started):
            await self._last("started", {})
        elif isinstance(event, Cached):
            self._done.update(event.nodes)
            await self._last("cached", {"nodes": list(event.nodes)})
        elif isinstance(event, NodeFinished):
            await self._last("outputs", {"node": event.node, "count": len(event.outputs)})
        elif isinstance(event, NodeText):
            await self._last("text", {"node": event.node, "text": event.text[:4000]})
        elif isinstance(event, Preview):
            self._pass("preview", {"node": event.node, "mime_type": event.mime_type}, event.data)
        elif isinstance(event, NodeStarted):
            await self._at_node(event.node)
        elif isinstance(event, Step):
            there = replace(self._progress, node=event.node, value=event.value, maximum=event.maximum)
            data = {"node": event.node, "value": event.value, "maximum": event.maximum}
            await self._move(there, "progress", data)

    async def _at_node(self, node: str) -> None:
        if self._progress.node:
            self._done.add(self._progress.node)
        there = replace(self._progress, node=node, value=0, maximum=0, nodes_done=len(self._done))
        await self._move(there, "node", {"node": node, "nodes_done": there.nodes_done, "nodes": there.nodes})

    async def _move(self, progress: Progress, kind: str, data: Mapping[str, Any]) -> None:
        self._progress = progress
        self._pass(kind, data)
        now = time.monotonic()
        if now - self._written >= _EVERY:
            self._written = now
            text = dump(asdict(progress))
            await self._write(lambda tx: _set_progress(tx, self._job, text))

    async def _last(self, kind: str, data: Mapping[str, Any]) -> None:
        mine = (_j.attempt == self._job.attempt, _j.epoch == self._job.epoch)
        await self._write(lambda tx: transitions.tell(tx, self._job.id, kind, data, *mine))

    def _pass(self, kind: str, data: Mapping[str, Any], blob: bytes = b"") -> None:
        self._queue.hub.put(JobEvent(self._job.id, 0, kind, self._queue.store.clock(), data, blob))

    async def _write(self, what: Any) -> None:
        with contextlib.suppress(QueueError, StorageError):
            await self._queue.store.write(what)


def _set_progress(tx: Tx, job: Job, text: str) -> None:
    mine = (_j.id == job.id, _j.attempt == job.attempt, _j.epoch == job.epoch)
    if tx.execute(update(schema.jobs).where(*mine).values(progress=text)).rowcount:
        tx.looks.add(job.id)
