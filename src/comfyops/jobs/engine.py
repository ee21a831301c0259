"""The engine of durable execution, behind a narrow interface: start a run once, and finish it whatever dies.

The engine is dbos: it keeps a row for each run and the result of each of its steps. A run that was begun and not ended
is taken up again, by the process that had it when it starts again or, after `adopt`, by any other; steps that ended
are not done twice. Nothing of it is used beyond that: jobs wait in tables of our own (`schema`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine as SqlEngine
from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url

from comfyops.errors import DatabaseError
from comfyops.jobs.database import make_private

NAME = "comfyops"
VERSION = "1"
"""Of the steps of a run. Constant: a run that was begun by one release is finished by the next."""

_PREFIX = "job:"
_THREADS = 32


class Steps(Protocol):
    """Does the steps of one run."""

    async def do(self, name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        """The result of a step, which is a JSON value; of one that ended before a crash the result it had then."""


Run = Callable[[str, int, Steps], Awaitable[None]]
"""Carries out attempt number N of a job by its steps. It must bear being begun again from any point."""


class Engine:
    """The engine of this process; there can be one at a time, and two processes must never share a `name`.

    With SQLite it has a file of its own, `file`: what is lost there in a power cut is only done again.
    """

    def __init__(self, database: str, file: Path, name: str) -> None:
        self._database = database
        self._file = file
        self._name = name
        self._dbos: Any = None
        self._own: SqlEngine | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self, run: Run) -> None:
        """Begin to work; runs that this name had before are taken up again, by `run`. Raises DatabaseError."""
        from dbos import DBOS  # takes half a second to import

        _quiet()
        _current.run, _current.tasks = run, self._tasks
        try:
            DBOS(config=self._config())
            _register(DBOS)
            DBOS.launch()
        except Exception as error:
            await self.close()
            words = " ".join(str(error).split())[:300]
            raise DatabaseError(f"The engine of the queue cannot use its database: {words}.") from error
        self._dbos = DBOS

    async def start(self, job: str, attempt: int) -> None:
        """Begin a run; nothing happens where it was begun before."""
        from dbos import SetWorkflowID

        with SetWorkflowID(run_id(job, attempt)):
            await self._dbos.start_workflow_async(_current.workflow, job, attempt)

    async def adopt(self, living: Collection[str]) -> int:
        """Take up the runs of processes that are not among `living`; gives how many there were."""
        found = await self._list(status="PENDING", load_input=False, load_output=False)
        orphans = [item.workflow_id for item in found if item.executor_id not in living]
        if orphans:
            await self._dbos.resume_workflows_async(orphans)
        return len(orphans)

    async def under_way(self, runs: Sequence[str]) -> dict[str, bool]:
        """Of those of these runs that were begun: whether somebody works at it, or will."""
        if not runs:
            return {}
        found = await self._list(workflow_ids=list(runs), load_input=False, load_output=False)
        return {item.workflow_id: item.status in ("PENDING", "ENQUEUED") for item in found}

    async def forget(self, runs: Sequence[str]) -> None:
        """Delete what is kept of runs that are over."""
        if runs:
            await self._dbos.delete_workflows_async(list(runs))

    async def close(self) -> None:
        """Stop; runs stay begun, and are taken up when this name, or another that adopts them, opens again."""
        from dbos import DBOS

        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        self._tasks.clear()
        _current.run = None
        # The library has put its own threads in the place of the loop's, and ends them with itself.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "comfyops-thread"))
        await asyncio.to_thread(DBOS.destroy)
        if self._own is not None:  # the library leaves what it was given open
            self._own.dispose()

    async def _list(self, **filters: Any) -> list[Any]:
        found: list[Any] = await self._dbos.list_workflows_async(**filters)
        return found

    def _config(self) -> Any:
        from dbos import DBOSPortableJSONSerializer

        common = {
            "name": NAME,
            "application_version": VERSION,
            "executor_id": self._name,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "max_executor_threads": _THREADS,
            "enable_otlp": False,
        }
        if self._database.startswith("sqlite"):
            make_private(self._file)
            url = f"sqlite:///{self._file}"
            self._own = _own_sqlite(self._file)
            return {**common, "system_database_url": url, "system_database_engine": self._own}
        url = make_url(self._database).set(drivername="postgresql").render_as_string(hide_password=False)
        return {**common, "system_database_url": url, "sys_db_pool_size": 5}


def run_id(job: str, attempt: int) -> str:
    """The name of a run in the engine."""
    return f"{_PREFIX}{job}:{attempt}"


class _Current:
    """What the one engine of this process works with; the library knows functions, no objects."""

    run: Run | None = None
    tasks: set[asyncio.Task[Any]]
    workflow: Any = None


_current = _Current()


class _Steps:
    def __init__(self, dbos: Any) -> None:
        self._dbos = dbos

    async def do(self, name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        async def doing() -> Any:
            return await step()

        return await self._dbos.run_step_async({"name": name}, doing)


def _register(dbos: Any) -> None:
    if _current.workflow is not None:
        return

    async def run_job(job: str, attempt: int) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks = _current.tasks
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if _current.run is None:
            raise asyncio.CancelledError
        await _current.run(job, attempt, _Steps(dbos))

    # Attempts are counted by the job itself.
    _current.workflow = dbos.workflow(name="run_job", max_recovery_attempts=1_000_000)(run_job)


def _own_sqlite(path: Path) -> SqlEngine:
    target = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0, "check_same_thread": False})

    @event.listens_for(target, "connect")
    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if sqlite3.sqlite_version_info < (3, 42):  # older ones do not know 'subsec', and answer nothing
            _teach_subsec(connection)

    return target


def _teach_subsec(connection: sqlite3.Connection) -> None:
    def unixepoch(*arguments: str) -> float | int:
        return time.time() if "subsec" in arguments else int(time.time())

    with contextlib.suppress(sqlite3.Error):
        connection.create_function("unixepoch", -1, unixepoch)


def _quiet() -> None:
    logging.getLogger("dbos").setLevel(logging.ERROR)
