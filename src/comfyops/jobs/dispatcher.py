"""A dispatcher: places waiting jobs onto the backends it leases, has the engine run them, and looks after both.

Several may work on one PostgreSQL database, each with its own name; on SQLite there is one. What a dispatcher that died
had under way is taken up by the others within `lease` seconds, or by itself when it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, select

from comfyops.errors import ComfyOpsError, DispatcherTakenError
from comfyops.jobs import fleet, hub, leases, retention, schedules, schema
from comfyops.jobs.clients import Clients, ClientSettings
from comfyops.jobs.engine import Engine, run_id
from comfyops.jobs.exports import Exporter, ExportSettings
from comfyops.jobs.fleet import BackendRow
from comfyops.jobs.job import Job
from comfyops.jobs.lock import FileLock
from comfyops.jobs.placing import Placer
from comfyops.jobs.probing import Prober, ProbeSettings
from comfyops.jobs.queue import Queue
from comfyops.jobs.retention import Keep
from comfyops.jobs.run import Runner
from comfyops.jobs.situation import Rules
from comfyops.jobs.webhook_sender import Sender, SenderSettings

_FAR = 4 * 3600.0  # seconds; no pause between looks at a backend is as long

logger = logging.getLogger("comfyops.jobs")


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """Times in seconds. `lease`: without a beat for so long, a dispatcher counts as dead. `look`: between looks for
    work of which nobody told. `tidy`: between looks for runs that fell out of hands. `sweep`: between looks for what is
    kept no longer."""

    lease: float = 15.0
    look: float = 1.0
    tidy: float = 5.0
    sweep: float = 600.0
    client: ClientSettings = field(default_factory=ClientSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    rules: Rules = field(default_factory=Rules)
    keep: Keep = field(default_factory=Keep)
    sender: SenderSettings = field(default_factory=SenderSettings)
    exports: ExportSettings = field(default_factory=ExportSettings)


class Dispatcher:
    """Use as `async with Dispatcher(queue, name)`: it works until the block ends, and fails the block where it must.

    Raises DispatcherTakenError where another that lives has the name, or the SQLite database; DatabaseError.
    """

    def __init__(self, queue: Queue, name: str = "", settings: DispatcherSettings | None = None) -> None:
        self.name = name or socket.gethostname()
        self._queue = queue
        self._store = queue.store
        self._settings = settings or DispatcherSettings()
        self._leases = leases.Leases(self.name, self._settings.lease)
        self._lock = FileLock(_beside(queue, ".lock")) if self._store.is_sqlite else None
        self._clients = Clients(self._store, self.name, self._settings.client)
        self.prober = Prober(self._store, self._clients, self.name, self._settings.probe)
        self._placer = Placer(self._store, queue.fleet, self.name, self._settings.rules)
        self._sender = Sender(self._store, self._settings.sender)
        self._exporter = Exporter(self._store, queue.files, self._settings.exports)
        self._runner = Runner(queue, self.name, self._clients)
        self._engine = Engine(queue.database, _beside(queue, ".runs"), self.name)
        self._living: tuple[str, ...] = (self.name,)
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sweep_at = 0.0
        self._beat_at = 0.0
        self.failed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Dispatcher:
        if self._lock is not None:
            self._lock.take()
        try:
            await self._enter()
            await self._beat()  # before anything else: who lives must not be taken for dead
            await self._engine.open(self._runner.carry_out)
        except BaseException:
            await self._leave()
            raise
        self._queue.node_types = self.prober.node_types
        self.failed = asyncio.get_running_loop().create_future()
        loops = (
            self._beating,
            self._placing,
            self._probing,
            self._cancelling,
            self._tidying,
            self._scheduling,
            self._delivering,
            self._exporting,
        )
        self._tasks = [asyncio.create_task(self._keep(work), name=f"comfyops{work.__name__}") for work in loops]
        return self

    async def _enter(self) -> None:
        """Take the name; one that this process had before it died is free once its lease has run out."""
        if self._lock is not None:  # whoever is in the table is dead, since the lock was free
            await self._store.write(lambda tx: tx.execute(schema.dispatchers.delete()))
        await self._store.set_clock()
        seen = await self._store.write(self._leases.enter)
        while seen is not None:
            await asyncio.sleep(self._settings.lease / 8)
            seen = await self._store.write(functools.partial(self._leases.enter, seen=seen))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in [*self._tasks, *self._probes.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._probes.values(), return_exceptions=True)
        await self._engine.close()
        await self._clients.close()
        await self._leave()

    async def _leave(self) -> None:
        with contextlib.suppress(ComfyOpsError):
            await self._store.write(self._leases.leave)
        if self._lock is not None:
            self._lock.release()

    async def serve(self) -> None:
        """Work until cancelled. Raises DispatcherTakenError where another process took the name in the meantime."""
        assert self.failed is not None
        await self.failed

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do one kind of work again and again; what goes wrong once is tried again."""
        pause = 0.1
        while True:
            try:
                await work()
                pause = 0.1
            except DispatcherTakenError as error:
                self._give_up(error)
                return
            except Exception as error:  # noqa: BLE001  (the others must go on; it is said, and tried again)
                logger.warning("%s: %s", work.__name__.strip("_"), error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _give_up(self, error: DispatcherTakenError) -> None:
        """Place nothing more: another process works under this name."""
        logger.error("%s", error.message)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self.failed is not None and not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # it was said: nobody has to wait for it

    async def _beating(self) -> None:
        await asyncio.sleep(self._settings.lease / 4)
        await self._beat()

    async def _beat(self) -> None:
        await self._store.set_clock()
        beat = await self._store.write(self._leases.beat)
        if beat.lost:
            raise DispatcherTakenError(f"Another process took the name {self.name!r}.", name=self.name)
        # Whoever could not beat for long, as when the database was away, believes nobody dead: they were away as well.
        late = time.monotonic() - self._beat_at > self._settings.lease / 2
        self._beat_at = time.monotonic()
        self._living = tuple({*beat.living, *self._living}) if late else beat.living

    async def _placing(self) -> None:
        with self._queue.hub.awake(hub.PLACE) as freed, self._queue.hub.awake(hub.PLACE, hub.NEW) as woken:
            while True:
                freed.clear()
                woken.clear()
                while jobs := await self._placer.round():
                    await asyncio.gather(*(self._start(job) for job in jobs))
                await hub.rest(freed if self._placer.full else woken, self._settings.look)

    async def _start(self, job: Job) -> None:
        self._runner.expect(job)
        await self._engine.start(job.id, job.attempt)

    async def _probing(self) -> None:
        with self._queue.hub.awake(hub.PROBE) as woken:
            while True:
                woken.clear()
                wait = await self._probe_due()
                await hub.rest(woken, wait)

    async def _probe_due(self) -> float:
        """Begin to look at the backends whose time has come; seconds until the next one's has."""
        now = self._store.clock()
        mine = [row for row in await self._store.read(fleet.read_all) if row.dispatcher == self.name]
        for row in mine:
            due = row.probe_at <= now or row.probe_at > now + _FAR  # the clock was set back
            if due and row.id not in self._probes:
                task = asyncio.create_task(self._probe(row), name=f"comfyops-probe-{row.id}")
                self._probes[row.id] = task
        later = [row.probe_at - now for row in mine if row.probe_at > now]
        return max(0.2, min([*later, 5.0]))

    async def _probe(self, row: BackendRow) -> None:
        try:
            await self.prober.look(row)
        except Exception as error:  # noqa: BLE001  (the next look tells more)
            logger.warning("probe of %s: %s", row.id, error)
        finally:
            self._probes.pop(row.id, None)

    async def _cancelling(self) -> None:
        with self._queue.hub.awake(hub.CANCEL) as woken:
            while True:
                woken.clear()
                for job in await self._store.read(self._unwanted) if self._runner.active else ():
                    self._runner.cancel(job)
                await hub.rest(woken, self._settings.look)

    def _unwanted(self, connection: Connection) -> list[str]:
        j = schema.jobs.c
        mine = (schema.IS_ACTIVE, j.runner == self.name, j.cancel_requested.is_not(None))
        return list(connection.execute(select(j.id).where(*mine)).scalars())

    async def _tidying(self) -> None:
        """Take up what fell out of hands: runs of dead dispatchers, and jobs that were bound and never begun."""
        await self._engine.adopt(self._living)
        j = schema.jobs.c
        active = select(j.id, j.attempt).where(schema.IS_ACTIVE, j.runner.in_([self.name]))
        found = await self._store.read(lambda connection: connection.execute(active).all())
        fallen = await self._store.write(lambda tx: leases.orphans(tx, self._living))
        idle = [(job, attempt) for job, attempt in [*found, *fallen] if job not in self._runner.active]
        begun = await self._engine.under_way([run_id(job, attempt) for job, attempt in idle])
        for job, attempt in idle:
            if run_id(job, attempt) not in begun:
                await self._engine.start(job, attempt)
            elif not begun[run_id(job, attempt)]:
                await self._runner.give_up(job, attempt)
        await self._store.write(retention.expire)
        await asyncio.sleep(self._settings.tidy)

    async def _delivering(self) -> None:
        """Send webhooks."""
        with self._queue.hub.awake(hub.DELIVER) as woken:
            while True:
                woken.clear()
                wait = await self._sender.send_due()
                await hub.rest(woken, wait)

    async def _exporting(self) -> None:
        """Copy outputs out."""
        await asyncio.sleep(await self._exporter.export_due())

    async def _scheduling(self) -> None:
        wait = await schedules.submit_due(self._queue)
        if time.monotonic() >= self._sweep_at:
            removed = await retention.sweep(self._queue, self._settings.keep)
            await self._engine.forget(removed)
            self._sweep_at = time.monotonic() + (0.0 if removed else self._settings.sweep)
        await asyncio.sleep(min(wait, 30.0))


def _beside(queue: Queue, ending: str) -> Path:
    """The path of a file that belongs to a SQLite database; without meaning for others."""
    return Path(f"{queue.store.engine.url.database}{ending}")
