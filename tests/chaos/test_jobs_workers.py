"""Workers that are replaced by another release while jobs run, and workers that must not run beside one another."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from comfyops import __version__
from comfyops.jobs import schema
from comfyops.jobs.queue import Queue
from tests.acceptance.processes import comfyops
from tests.chaos.job_checks import all_over, check_exactly_once
from tests.chaos.job_world import World, until, work
from tests.chaos.plans import WHOLE
from tests.postgresql import PostgreSQL

COUNT = 12


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """A database server for these tests."""
    with PostgreSQL.started() as server:
        yield server


@pytest.fixture
def world(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[World]:
    """A world on PostgreSQL."""
    with World(postgresql.fresh(), tmp_path) as world:
        yield world


async def test_workers_are_replaced_by_another_release_and_back_while_jobs_run(world: World) -> None:
    servers = [world.server("--seconds-per-node", "0.4") for _ in range(2)]
    old = world.new_worker("old", older=True).start()
    world.workers.append(old)
    async with world.open() as queue:
        for server in servers:
            await queue.fleet.add(str(server.words["url"]))
        await queue.submit_batch([work(number) for number in range(COUNT)], "me")
        await until(lambda: _at_work(queue))
        new = await asyncio.to_thread(world.worker, "new")
        assert await _versions(queue) == {"0.0.9", __version__}
        await asyncio.to_thread(old.end, signal.SIGTERM)
        await until(lambda: _at_work(queue))
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(new.end, signal.SIGTERM)
        await until(lambda: all_over(queue))
        await check_exactly_once(queue, COUNT, world.records)
        assert {job.attempt for job in (await queue.ls()).jobs} == {1}
        assert await _versions(queue) == {"0.0.9"}
        runs = text("SELECT DISTINCT application_version FROM dbos.workflow_status")
        assert await queue.store.read(lambda connection: connection.execute(runs).scalars().all()) == ["1"]


async def _at_work(queue: Queue) -> bool:
    return (await queue.stats())["running"] == 2


async def _versions(queue: Queue) -> set[str]:
    column = select(schema.dispatchers.c.version)
    return set(await queue.store.read(lambda connection: connection.execute(column).scalars().all()))


@pytest.mark.skipif(not WHOLE, reason="as processes in the long form; within one in tests/unit/jobs")
def test_a_second_worker_of_one_name_is_refused_and_the_first_goes_on(world: World) -> None:
    first = world.worker("one")
    second = world.new_worker("one")
    refused = comfyops(*second.arguments, folder=world.folder, variables=second.environment)
    refused.failed_with("dispatcher_taken", "'one'")
    assert first.lives


def test_a_second_process_on_sqlite_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with World("", tmp_path) as world:
        first = world.worker("one")
        second = world.new_worker("two")
        refused = comfyops(*second.arguments, folder=world.folder, variables=second.environment)
        refused.failed_with("dispatcher_taken", "SQLite is for one")
        assert first.lives
