"""The durable queue: everything that may be done with jobs, whoever asks. The one doorway for API, gateway and CLI.

A job that `submit` accepted is in the database, on disk, before `submit` returns; from then on it finishes exactly once
in effect, whatever dies. Dispatchers (`dispatcher`) carry jobs out, in this process or in others.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast
from uuid import uuid4

from sqlalchemy import Connection

from comfyops.errors import WaitTimeoutError
from comfyops.jobs import accepting, batches, changes, listening, reading, rows, submitting, transitions
from comfyops.jobs.accepting import New
from comfyops.jobs.asset_records import AssetRecords
from comfyops.jobs.files import Files
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.hub import Hub
from comfyops.jobs.job import (
    OVER,
    Accepted,
    Attempt,
    Explanation,
    Filter,
    Job,
    JobEvent,
    JobOutput,
    Page,
    Submission,
)
from comfyops.jobs.links import LinkKeys
from comfyops.jobs.quotas import Quotas
from comfyops.jobs.rooms import Rooms
from comfyops.jobs.store import Store
from comfyops.jobs.submitting import Prepared
from comfyops.jobs.thumbnails import Thumbnails
from comfyops.jobs.tx import Tx
from comfyops.jobs.uploads import Uploads
from comfyops.support.threads import on_graph
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

T = TypeVar("T")

DATABASE = "queue.db"
"""The SQLite file, in the folder of the queue."""

STOP_TIMEOUT = 60.0
"""Seconds that `cancel` waits for a run to stop."""

_PART = 200  # jobs that are changed at once
_LOOK = 2.0  # seconds between looks for what other processes wrote, where nothing tells of it


class Queue:
    """Jobs of all owners. Use as `async with Queue(database, folder)`; methods may be called from many tasks.

    `database` is "sqlite:///path" or "postgresql://user@host/name", "" = the file queue.db of `folder`, where files are
    kept too. `max_waiting` is the most waiting jobs of an owner without a quota of its own, None = any number. An
    `owner` of None means whoever, for operators: a job of another owner is as unknown as one that never was. Making
    one brings the schema up to date. Raises DatabaseError, StorageError.
    """

    def __init__(
        self,
        database: str,
        folder: Path,
        *,
        max_waiting: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder.expanduser()
        self.database = database or f"sqlite:///{self.folder / DATABASE}"
        self.store = Store(self.database, clock)
        self.hub = Hub()
        self.store.told = self.hub.told
        self.files = Files(self.folder)
        self.thumbnails = Thumbnails(self.folder / "thumbnails", self.files)
        self.assets = AssetRecords(self.store)
        self.uploads = Uploads(self.store)
        self.link_keys = LinkKeys(self.store)
        self.fleet = Fleet(self.store)
        self.quotas = Quotas(self.store)
        self.node_types: Callable[[], NodeTypes | None] = lambda: None
        self._rooms = Rooms(max_waiting)
        self._accept = functools.partial(accepting.accept, fleet=self.fleet, rooms=self._rooms)
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Queue:
        if not self.store.is_sqlite and self._listener is None:
            listener = listening.listen(self.store.engine.url, self.store.origin, self.hub)
            self._listener = asyncio.create_task(listener, name="comfyops-listen")
        await self.store.set_clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let database and files go; jobs stay."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
            self._listener = None
        await asyncio.to_thread(self.store.close)

    async def submit(self, submission: Submission, owner: str, graph: Graph | None = None) -> Accepted:
        """Accept a job, durably. `graph` is the submission's own, where somebody has read it already.

        Raises DuplicateKeyError for a key used with another request, QueueFullError (fact `retry_after`, seconds),
        NoBackendError where no known backend could ever run it, UnknownJobError or DependencyError for a job it shall
        wait for, WorkflowFormatError, UsageError.
        """
        prepared = await self._prepare(submission, graph)
        new = New(prepared, owner, submission.id or str(uuid4()))
        return cast(Accepted, await self.store.write_together(self._accept, new))

    async def submit_batch(
        self,
        submissions: Sequence[Submission],
        owner: str,
        *,
        name: str = "",
        idempotency_key: str | None = None,
        request_hash: str = "",
    ) -> batches.Batch:
        """Accept many jobs as one, all or none. Raises as `submit`."""
        prepared = [await self._prepare(submission) for submission in submissions]
        request = batches.Request(prepared, owner, name, idempotency_key, request_hash)
        return await self.store.write(lambda tx: batches.accept(tx, request, self.fleet, self._rooms))

    async def batch(self, batch: str, owner: str | None = None) -> batches.Batch:
        """A batch and how its jobs stand. Raises UnknownJobError."""
        return await self.store.read(lambda connection: batches.read(connection, batch, owner))

    async def get(self, job: str, owner: str | None = None) -> Job:
        """A job with its graph. Raises UnknownJobError."""
        return await self.store.read(lambda connection: rows.read_job(connection, job, owner))

    async def ls(self, which: Filter | None = None, cursor: str | None = None) -> Page:
        """The jobs of a filter, page by page. Raises UsageError for a cursor that is none."""
        return await self.store.read(lambda connection: reading.read_page(connection, which or Filter(), cursor))

    async def in_queue(self, owner: str | None = None, limit: int = reading.MAX_PAGE) -> reading.InQueue:
        """Ids of what runs and waits, at most `limit` of each."""
        return await self.store.read(lambda connection: reading.read_queue(connection, owner, limit))

    async def sent(
        self, owner: str | None = None, client: str | None = None, since: int = 2**62
    ) -> tuple[int, list[reading.Sent]]:
        """The newest number; and the jobs of a client, or of all that said who they are, that wait, run, or are newer
        than number `since`, by owner, client and number."""
        return await self.store.read(lambda connection: reading.read_sent(connection, owner, client, since))

    async def under_way(self, owner: str | None = None) -> int:
        """How many jobs wait or run."""
        return await self.store.read(lambda connection: reading.read_under_way(connection, owner))

    async def get_many(self, jobs: Sequence[str]) -> list[Job]:
        """These jobs with their graphs, as far as they are there, in any order."""
        return await self.store.read(lambda connection: reading.read_whole(connection, jobs))

    async def events(self, job: str, owner: str | None = None, after: int = 0) -> AsyncIterator[JobEvent]:
        """What happens to a job: its durable events after number `after`, then live ones, until it is over.

        Of a job that another process runs, progress comes about once a second, and no previews. Raises UnknownJobError.
        """
        told, lively = None, False
        with self.hub.watch(job) as channel:
            while True:
                over, progress = await self._of(reading.read_standing, job, owner)
                for event in await self._events_after(job, after):
                    after = event.seq
                    yield event
                if over:
                    return
                if progress != told and progress is not None and not lively:
                    yield JobEvent(job, 0, "progress", self.store.clock(), asdict(progress))
                told, lively = progress, False
                async for event in self._live(channel, after):
                    after = max(after, event.seq)
                    lively = lively or event.seq == 0
                    yield event

    async def log(self, job: str, owner: str | None = None) -> tuple[JobEvent, ...]:
        """What happened to a job so far, as far as it is kept. Raises UnknownJobError."""
        return await self._of(lambda connection, name: tuple(reading.read_events(connection, name, 0)), job, owner)

    async def _events_after(self, job: str, after: int) -> list[JobEvent]:
        return await self.store.read(lambda connection: reading.read_events(connection, job, after))

    async def _live(self, channel: asyncio.Queue[JobEvent | None], after: int) -> AsyncIterator[JobEvent]:
        """Events as they come in order; ends where the database has to be looked into."""
        while True:
            try:
                async with asyncio.timeout(_LOOK):
                    event = await channel.get()
            except TimeoutError:
                return
            if event is None or event.seq > after + 1:
                return
            if event.seq == 0 or event.seq == after + 1:
                yield event
            after = max(after, event.seq)
            if event.type == "state" and event.data.get("state") in _ENDS:
                return

    async def wait(self, job: str, owner: str | None = None, timeout: float | None = None) -> Job:
        """The job once it is over. Raises UnknownJobError, WaitTimeoutError after `timeout` seconds."""
        give_up = None if timeout is None else time.monotonic() + timeout
        with self.hub.watch(job) as channel:
            while not (found := await self.get(job, owner)).state.over:
                left = _LOOK if give_up is None else min(_LOOK, give_up - time.monotonic())
                if left <= 0:
                    words = f"The job {job} is {found.state.value} after {timeout:g} s."
                    raise WaitTimeoutError(words, job=job, state=found.state.value)
                await _until_change(channel, left)
            return found

    async def cancel(self, job: str, owner: str | None = None, timeout: float = STOP_TIMEOUT) -> Job:
        """Stop a job in any state and wait until its run has stopped; one that is over stays as it is.

        Raises UnknownJobError, WaitTimeoutError where its run does not stop within `timeout` seconds.
        """
        found = await self.request_cancel(job, owner)
        return found if found.state.over else await self.wait(job, owner, timeout)

    async def request_cancel(self, job: str, owner: str | None = None) -> Job:
        """As `cancel`, without waiting until a run has stopped. Raises UnknownJobError."""
        return await self.store.write(lambda tx: changes.cancel(tx, job, owner))

    async def cancel_waiting(self, owner: str | None = None) -> None:
        """Cancel every job that waits now; those that run go on."""
        await self._each_part(changes.cancel_waiting, owner)

    async def retry(self, job: str, owner: str | None = None) -> Job:
        """Have a failed, cancelled or expired job run again. Raises UnknownJobError, JobStateError."""
        return await self.store.write(lambda tx: changes.retry(tx, job, owner))

    async def set_priority(self, job: str, priority: int, owner: str | None = None) -> Job:
        """Change the priority of a waiting job; smaller goes first.

        Raises UnknownJobError, JobStateError, UsageError.
        """
        return await self.store.write(lambda tx: changes.set_priority(tx, job, priority, owner))

    async def outputs(self, job: str, owner: str | None = None) -> tuple[JobOutput, ...]:
        """The outputs of a job so far; of a failed one what its nodes made before. Raises UnknownJobError."""
        return await self._of(reading.read_outputs, job, owner)

    async def outputs_of(self, jobs: Sequence[str]) -> dict[str, tuple[JobOutput, ...]]:
        """The outputs of several jobs so far."""
        return await self.store.read(lambda connection: reading.read_outputs_of(connection, jobs))

    async def place(self, job: str, owner: str | None = None) -> int:
        """How many waiting jobs go before this one. Raises UnknownJobError."""
        return await self.store.read(
            lambda connection: reading.read_place(connection, rows.read_job(connection, job, owner))
        )

    async def attempts(self, job: str, owner: str | None = None) -> tuple[Attempt, ...]:
        """The runs of a job, first to last. Raises UnknownJobError."""
        return await self._of(reading.read_attempts, job, owner)

    async def explain(self, job: str, owner: str | None = None) -> Explanation:
        """Why a job is where it is. Raises UnknownJobError."""
        now = self.store.clock()
        return await self.store.read(
            lambda connection: reading.read_explanation(connection, job, owner, self.fleet, now)
        )

    async def delete(self, job: str, owner: str | None = None) -> None:
        """Forget a job that is over, with its outputs. Raises UnknownJobError, JobStateError."""
        await self.store.write(lambda tx: changes.forget(tx, job, owner))

    async def delete_over(self, owner: str | None = None) -> None:
        """Forget every job that is over now, with its outputs."""
        await self._each_part(changes.forget_over, owner)

    async def _each_part(self, change: Callable[[Tx, str | None, int, int], int], owner: str | None) -> None:
        """Change all jobs that are there now, in parts between which others may write."""
        newest = await self.store.read(reading.newest_number)
        while await self.store.write(lambda tx: change(tx, owner, newest, _PART)) == _PART:
            pass

    async def stats(self, owner: str | None = None) -> dict[str, int]:
        """How many jobs are in each state."""
        return await self.store.read(lambda connection: transitions.counts(connection, owner))

    async def pause(self) -> None:
        """Begin no more jobs; running ones go on."""
        await self.store.write(lambda tx: changes.set_paused(tx, True))

    async def resume(self) -> None:
        """Take `pause` back."""
        await self.store.write(lambda tx: changes.set_paused(tx, False))

    async def paused(self) -> bool:
        """Whether the queue is paused."""
        return await self.store.read(reading.is_paused)

    async def _prepare(self, submission: Submission, graph: Graph | None = None) -> Prepared:
        types = self.node_types()
        return await on_graph(len(submission.graph), submitting.prepare, submission, types, graph)

    async def _of(self, read: Callable[[Connection, str], T], job: str, owner: str | None) -> T:
        def both(connection: Connection) -> T:
            rows.check_owner(connection, job, owner)
            return read(connection, job)

        return await self.store.read(both)


_ENDS = frozenset(state.value for state in OVER)


async def _until_change(channel: asyncio.Queue[JobEvent | None], seconds: float) -> None:
    """Wait until the state of a job may have changed, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (event := await channel.get()) is not None and event.type != "state":
                pass
