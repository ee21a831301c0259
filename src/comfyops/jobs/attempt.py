"""One attempt of a job at its backend, from the first look to the last row.

Every part may be begun again at any point. The run's id at the backend follows from job and attempt, the backend is
asked before anything is sent, files are named by their content, and whoever was overtaken by another process is refused
by the number `epoch` when it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Event, Finished, NodeFinished, Output
from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    DatabaseError,
    StorageError,
    UnreachableError,
    WaitTimeoutError,
)
from comfyops.jobs import endings, hub, poison, steps, taking_inputs
from comfyops.jobs.clients import Clients
from comfyops.jobs.collecting import Collection, Made
from comfyops.jobs.credible import credible
from comfyops.jobs.job import Job, JobEvent
from comfyops.jobs.queue import Queue
from comfyops.jobs.reporting import Reporter
from comfyops.support.threads import on_graph
from comfyops.workflows import api_format
from comfyops.workflows.node_types import is_core

_CANCEL_AGAIN = 2.0  # seconds between attempts to have a backend stop a run
_FETCHES = 4  # attempts to fetch outputs from a backend that does not answer


class Superseded(Exception):
    """Another process took the job over; whatever this one still does does not count."""


class Attempt:
    """A job that was bound to a backend and is carried out here; `stop` is set to have it stopped."""

    def __init__(self, queue: Queue, clients: Clients, job: Job, stop: asyncio.Event) -> None:
        self._store = queue.store
        self._files = queue.files
        self._queue = queue
        self._clients = clients
        self._job = job
        self._stop = stop
        self._told: list[JobEvent] = []  # what it told last, to be written with what follows
        # ComfyUI's own classes number their files anew, and leave those of others alone
        lasting = all(is_core(str(node.get("class_type"))) for node in (job.graph or {}).values())
        self._collection = Collection(queue.files, queue.thumbnails, lasting=lasting)

    async def run(self, *, fresh: bool) -> dict[str, Any]:
        """Have the backend run it; how that ended, as a JSON value. `fresh` = nobody can have sent it before.

        Raises Superseded.
        """
        assert self._job.backend is not None
        try:
            client = await self._clients.get(self._job.backend)
            if not await self._submit(client, fresh):
                return endings.cancelled()
            finished = await self._watch(client)
            return endings.finished(finished, cancelled=self._stop.is_set())
        except ComfyOpsError as error:
            return endings.cancelled() if self._stop.is_set() else endings.failed(error)

    async def end(self, end: dict[str, Any]) -> None:
        """Keep what it made and say how the job ended; or have it run again. `end` is what `run` gave.

        Raises Superseded.
        """
        outputs = credible(endings.outputs(end), self._job.graph)
        made: list[Made] = []
        if outputs or end["kind"] == "done":
            told, self._told = self._told, []
            if not await self._store.write_surely(lambda tx: steps.storing(tx, self._job, told)):
                raise Superseded
            try:
                made = await self._collect(outputs)
            except ComfyOpsError as error:
                end = endings.failed(error)
        if not await self.conclude(end, made):
            raise Superseded

    async def conclude(self, end: endings.End, made: Sequence[Made] = ()) -> bool:
        """Write how it ended and what is kept of it; False where another process took it over."""
        told, self._told = self._told, []
        return bool(await self._store.write_surely(lambda tx: steps.conclude(tx, self._job, end, made, told)))

    async def close(self) -> None:
        """Note the files that were fetched for nothing, so that they are removed in time."""
        unused = await self._collection.close()
        if unused:
            with contextlib.suppress(DatabaseError, StorageError):
                await self._store.write(lambda tx: steps.keep_unused(tx, unused))

    async def _submit(self, client: ComfyUI, fresh: bool) -> bool:
        """Give the job to the backend; False where it was cancelled before."""
        job = self._job
        assert job.prompt_id is not None
        if self._stop.is_set():
            with contextlib.suppress(BackendError):  # the process before this one may have sent it
                await client.cancel(job.prompt_id)
            return False
        graph = await taking_inputs.put_in(job, client, self._store, self._files)
        parsed = api_format.parse(graph)
        types = await client.node_types()
        await on_graph(len(parsed), poison.refuse, parsed, graph, job.extra_data, types)
        await client.submit(parsed, run_id=job.prompt_id, extra_data=job.extra_data, fresh=fresh)
        if await self._store.write_surely(lambda tx: steps.running(tx, job)) is False:
            raise Superseded
        return True

    async def _watch(self, client: ComfyUI) -> Finished:
        """Follow the run to its end, and stop it where that is wanted."""
        watching = asyncio.create_task(self._follow(client), name=f"watch-{self._job.id}")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            while not watching.done():
                await _ask_to_stop(client, self._job.prompt_id or "")
                await asyncio.wait([watching], timeout=_CANCEL_AGAIN)
            return await watching
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)

    async def _follow(self, client: ComfyUI) -> Finished:
        reporter = Reporter(self._queue, self._job)
        end: Event | None = None
        try:
            async for end in client.watch(self._job.prompt_id or ""):
                reporter.take(end)
                if isinstance(end, NodeFinished):
                    self._collection.begin(client, credible(end.outputs, self._job.graph))
        finally:
            self._told = await reporter.stop()
        assert isinstance(end, Finished)  # the contract of `watch`
        return end

    async def _collect(self, outputs: Sequence[Output]) -> list[Made]:
        """Fetch the outputs. A full disk is waited for, since the backend has them still; a backend not for long."""
        backend = self._job.backend or ""
        client = self._clients.known(backend) or await self._clients.get(backend)
        pause, away = 1.0, 0
        while True:
            try:
                return await self._collection.finish(client, outputs)
            except (StorageError, UnreachableError) as error:
                away += isinstance(error, UnreachableError)
                if self._stop.is_set():
                    return []
                if away > _FETCHES:
                    raise
                await hub.rest(self._stop, pause)
                pause = min(pause * 2, 30.0)


async def _ask_to_stop(client: ComfyUI, run_id: str) -> None:
    with contextlib.suppress(BackendError, WaitTimeoutError):
        await client.cancel(run_id)
