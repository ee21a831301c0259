"""One attempt of a job at its backend, from the first look to the last row: what the engine carries out.

Every part may be begun again at any point. The run's id at the backend follows from job and attempt, the backend is
asked before anything is sent, files are named by their content, and whoever was overtaken by another process is refused
by the number `epoch` when it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Event, Finished, NodeFinished, Output
from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    DatabaseError,
    InternalError,
    StorageError,
    UnreachableError,
    WaitTimeoutError,
)
from comfyops.jobs import endings, hub, poison, steps, taking_inputs
from comfyops.jobs.clients import Clients
from comfyops.jobs.collecting import Collection, Made
from comfyops.jobs.engine import Steps
from comfyops.jobs.job import Job, JobEvent
from comfyops.jobs.queue import Queue
from comfyops.jobs.reporting import Reporter
from comfyops.support.threads import on_graph
from comfyops.workflows import api_format
from comfyops.workflows.node_types import is_core

_CANCEL_AGAIN = 2.0  # seconds between attempts to have a backend stop a run
_FETCHES = 4  # attempts to fetch outputs from a backend that does not answer
_RETRY_PAUSES = (0.2, 1.0, 3.0, 10.0)  # seconds between attempts to write, then the last again and again


class Superseded(Exception):
    """Another process took the job over; whatever this one still does does not count."""


class Runner:
    """Carries out the jobs that were bound by this dispatcher or fell to it."""

    def __init__(self, queue: Queue, name: str, clients: Clients) -> None:
        self._queue = queue
        self._name = name
        self._clients = clients
        self._bound: dict[str, Job] = {}
        self._told: dict[str, list[JobEvent]] = {}  # what runs told last, to be written with what follows
        self.active: dict[str, asyncio.Event] = {}  # of each job that is carried out here: set to have it stopped

    def expect(self, job: Job) -> None:
        """Note a job that was bound just now, which need not be claimed again."""
        self._bound[job.id] = job

    def forget(self, job_id: str) -> None:
        """Take an `expect` back."""
        self._bound.pop(job_id, None)

    def cancel(self, job_id: str) -> bool:
        """Have a job stopped that is carried out here; False where it is not."""
        if job_id not in self.active:
            return False
        self.active[job_id].set()
        return True

    async def carry_out(self, job_id: str, attempt: int, durable: Steps) -> None:
        """The run of the engine."""
        fresh = job_id in self._bound
        job = await self._claim(job_id, attempt)
        if job is None:
            return
        stop = self.active.setdefault(job_id, asyncio.Event())
        # ComfyUI's own classes number their files anew, and leave those of others alone
        lasting = all(is_core(str(node.get("class_type"))) for node in (job.graph or {}).values())
        collection = Collection(self._queue.files, self._queue.thumbnails, lasting=lasting)
        if job.cancel_requested:
            stop.set()
        try:
            end = await durable.do("run", lambda: self._run(job, stop, collection, fresh))
            await self._end(job, end, stop, collection)
        except Superseded:
            return
        except Exception as error:  # noqa: BLE001  (a fault of ours must not leave a job hanging)
            await self._conclude(job, endings.failed(InternalError(f"The run broke: {error!r}")))
        finally:
            await self._let_go(collection)
            if self.active.get(job_id) is stop:
                del self.active[job_id]
                self._told.pop(job_id, None)

    async def _let_go(self, collection: Collection) -> None:
        """Note the files that were fetched for nothing, so that they are removed in time."""
        unused = await collection.close()
        if unused:
            with contextlib.suppress(DatabaseError, StorageError):
                await self._queue.store.write(lambda tx: steps.keep_unused(tx, unused))

    async def give_up(self, job_id: str, attempt: int) -> None:
        """Have a job run again whose run ended in the engine without a word."""
        job = await self._claim(job_id, attempt)
        if job is not None and job_id not in self.active:
            await self._conclude(job, endings.failed(InternalError("The run ended without a result.")))

    async def _conclude(self, job: Job, end: endings.End, made: Sequence[Made] = ()) -> bool:
        store, told = self._queue.store, self._told.pop(job.id, [])
        return bool(await persistently(lambda: store.write(lambda tx: steps.conclude(tx, job, end, made, told))))

    async def _claim(self, job_id: str, attempt: int) -> Job | None:
        job = self._bound.pop(job_id, None)
        if job is not None and job.attempt == attempt:
            return job
        store = self._queue.store
        claimed: Job | None = await persistently(
            lambda: store.write(lambda tx: steps.claim(tx, job_id, attempt, self._name))
        )
        return claimed

    async def _run(self, job: Job, stop: asyncio.Event, collection: Collection, fresh: bool) -> dict[str, Any]:
        """Have the backend run it; how that ended, as a JSON value. `fresh` = nobody can have sent it before."""
        assert job.backend is not None and job.prompt_id is not None
        try:
            client = await self._clients.get(job.backend)
            if not await self._submit(job, client, stop, fresh):
                return endings.cancelled()
            finished = await self._watch(job, client, stop, collection)
            return endings.finished(finished, cancelled=stop.is_set())
        except ComfyOpsError as error:
            return endings.cancelled() if stop.is_set() else endings.failed(error)

    async def _submit(self, job: Job, client: ComfyUI, stop: asyncio.Event, fresh: bool) -> bool:
        """Give the job to the backend; False where it was cancelled before."""
        assert job.prompt_id is not None
        if stop.is_set():
            with contextlib.suppress(BackendError):  # the process before this one may have sent it
                await client.cancel(job.prompt_id)
            return False
        store = self._queue.store
        graph = await taking_inputs.put_in(job, client, store, self._queue.files)
        parsed = api_format.parse(graph)
        types = await client.node_types()
        await on_graph(len(parsed), poison.refuse, parsed, graph, job.extra_data, types)
        await client.submit(parsed, run_id=job.prompt_id, extra_data=job.extra_data, fresh=fresh)
        if await persistently(lambda: store.write(lambda tx: steps.running(tx, job))) is False:
            raise Superseded
        return True

    async def _watch(self, job: Job, client: ComfyUI, stop: asyncio.Event, collection: Collection) -> Finished:
        """Follow the run to its end, and stop it where that is wanted."""
        watching = asyncio.create_task(self._follow(job, client, collection), name=f"watch-{job.id}")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            while not watching.done():
                await _ask_to_stop(client, job.prompt_id or "")
                await asyncio.wait([watching], timeout=_CANCEL_AGAIN)
            return await watching
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)

    async def _follow(self, job: Job, client: ComfyUI, collection: Collection) -> Finished:
        reporter = Reporter(self._queue, job)
        end: Event | None = None
        try:
            async for end in client.watch(job.prompt_id or ""):
                reporter.take(end)
                if isinstance(end, NodeFinished):
                    collection.begin(client, end.outputs)
        finally:
            self._told[job.id] = await reporter.stop()
        assert isinstance(end, Finished)  # the contract of `watch`
        return end

    async def _end(self, job: Job, end: dict[str, Any], stop: asyncio.Event, collection: Collection) -> None:
        """Keep what it made and say how the job ended; or have it run again."""
        outputs = endings.outputs(end)
        store = self._queue.store
        if outputs or end["kind"] == "done":
            told = self._told.pop(job.id, [])
            if not await persistently(lambda: store.write(lambda tx: steps.storing(tx, job, told))):
                raise Superseded
            try:
                backend = job.backend or ""
                client = self._clients.known(backend) or await self._clients.get(backend)
                made = await _collect(collection, client, outputs, stop)
            except ComfyOpsError as error:
                end, made = endings.failed(error), []
        else:
            made = []
        if not await self._conclude(job, end, made):
            raise Superseded


async def _collect(
    collection: Collection, client: ComfyUI, outputs: Sequence[Output], stop: asyncio.Event
) -> list[Made]:
    """Fetch the outputs. A full disk is waited for, since the backend has them still; a backend not for long."""
    pause, away = 1.0, 0
    while True:
        try:
            return await collection.finish(client, outputs)
        except (StorageError, UnreachableError) as error:
            away += isinstance(error, UnreachableError)
            if stop.is_set():
                return []
            if away > _FETCHES:
                raise
            await hub.rest(stop, pause)
            pause = min(pause * 2, 30.0)


async def _ask_to_stop(client: ComfyUI, run_id: str) -> None:
    with contextlib.suppress(BackendError, WaitTimeoutError):
        await client.cancel(run_id)


async def persistently(write: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a write that must happen: tried again for as long as the database is away."""
    pauses = iter(_RETRY_PAUSES)
    pause = 0.0
    while True:
        try:
            return await write()
        except (DatabaseError, StorageError):
            pause = next(pauses, pause)
            await asyncio.sleep(pause)
