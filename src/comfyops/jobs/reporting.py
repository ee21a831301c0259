"""What a run tells while it goes on: to watchers at once, to the database what shall last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
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
from comfyops.jobs.hub import rest
from comfyops.jobs.job import Job, JobEvent, Progress
from comfyops.jobs.queue import Queue
from comfyops.jobs.rows import dump
from comfyops.jobs.tx import Tx

_EVERY = 1.0  # seconds between two writes of a job's progress
_MOST_SHOWN = 64 * 1024  # characters of JSON
_LINGER = 0.03  # seconds for what else happens in that moment, to be written together

_j = schema.jobs.c


class Reporter:
    """Takes the events of one run, in order. What is to last is written a moment later, several at once; what passes
    waits for what happened before it. What cannot be written is only missing from the record: the run goes on.
    """

    def __init__(self, queue: Queue, job: Job) -> None:
        self._queue = queue
        self._job = job
        self._progress = Progress(nodes=len(job.graph or {}))
        self._done: set[str] = set()
        self._written = 0.0
        self._due = False  # the progress is to be written
        self._waiting: list[JobEvent] = []  # what is to last has the number 1
        self._writing: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    def take(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, Started):
            self._last("started", {})
        elif isinstance(event, Cached):
            self._done.update(event.nodes)
            self._last("cached", {"nodes": list(event.nodes)})
        elif isinstance(event, NodeFinished):
            self._last("outputs", {"node": event.node, "count": len(event.outputs), **_shown(event)})
        elif isinstance(event, NodeText):
            self._last("text", {"node": event.node, "text": event.text[:4000]})
        elif isinstance(event, Preview):
            self._pass("preview", {"node": event.node, "mime_type": event.mime_type}, event.data)
        elif isinstance(event, NodeStarted):
            self._at_node(event.node)
        elif isinstance(event, Step):
            there = replace(self._progress, node=event.node, value=event.value, maximum=event.maximum)
            data = {"node": event.node, "value": event.value, "maximum": event.maximum}
            self._move(there, "progress", data)

    async def stop(self) -> list[JobEvent]:
        """End; gives what was not written and told yet, for who writes next."""
        self._stopped.set()
        if self._writing is not None:
            await self._writing
        waiting, self._waiting = self._waiting, []
        return waiting

    def _at_node(self, node: str) -> None:
        if self._progress.node:
            self._done.add(self._progress.node)
        there = replace(self._progress, node=node, value=0, maximum=0, nodes_done=len(self._done))
        self._move(there, "node", {"node": node, "nodes_done": there.nodes_done, "nodes": there.nodes})

    def _move(self, progress: Progress, kind: str, data: Mapping[str, Any]) -> None:
        self._progress = progress
        if time.monotonic() - self._written >= _EVERY:
            self._due = True
            self._write_soon()
        self._pass(kind, data)

    def _last(self, kind: str, data: Mapping[str, Any]) -> None:
        self._waiting.append(JobEvent(self._job.id, 1, kind, self._queue.store.clock(), data))
        self._write_soon()

    def _pass(self, kind: str, data: Mapping[str, Any], blob: bytes = b"") -> None:
        event = JobEvent(self._job.id, 0, kind, self._queue.store.clock(), data, blob)
        if self._writing is None:
            self._queue.hub.put(event)
        else:
            self._waiting.append(event)

    def _tell(self, events: Sequence[JobEvent]) -> None:
        """Tell only what passes."""
        for event in events:
            if not event.seq:
                self._queue.hub.put(event)

    def _write_soon(self) -> None:
        if self._writing is None and not self._stopped.is_set():
            self._writing = asyncio.create_task(self._write(), name=f"report-{self._job.id}")

    async def _write(self) -> None:
        """Write what waits, until nothing does or the run ended."""
        while self._due or any(event.seq for event in self._waiting):
            await rest(self._stopped, _LINGER)
            if self._stopped.is_set():
                return
            events, self._waiting = self._waiting, []
            await self._send(events, self._progress if self._due else None)
        self._tell(self._waiting)
        self._waiting, self._writing = [], None

    async def _send(self, events: Sequence[JobEvent], progress: Progress | None) -> None:
        if progress is not None:
            self._due, self._written = False, time.monotonic()
        try:
            await self._queue.store.write(lambda tx: _put(tx, self._job, events, progress))
        except (QueueError, StorageError):
            self._tell(events)


def _shown(event: NodeFinished) -> dict[str, Any]:
    """What a node shows, where that is of reasonable size."""
    shown = dict(event.shown)
    return {"shown": shown} if len(dump(shown)) <= _MOST_SHOWN else {}


def _put(tx: Tx, job: Job, events: Sequence[JobEvent], progress: Progress | None) -> None:
    if any(event.seq for event in events):
        transitions.tell(tx, job.id, events, attempt=job.attempt, epoch=job.epoch)
    else:
        tx.events.extend(events)
    if progress is not None:
        text = dump(asdict(progress))
        mine = (_j.id == job.id, _j.attempt == job.attempt, _j.epoch == job.epoch)
        if tx.execute(update(schema.jobs).where(*mine).values(progress=text)).rowcount:
            tx.looks.add(job.id)
