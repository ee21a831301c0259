"""Durable jobs while workers and servers are killed and frozen: none lost, none done twice in effect, none stuck."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.jobs.job import JobState
from tests.chaos.job_world import Process, World, all_over, check_exactly_once, until, work
from tests.chaos.plans import WHOLE
from tests.postgresql import PostgreSQL

COUNT = 1000 if WHOLE else 24
BLOWS = 60 if WHOLE else 4


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """No servers and no workers yet."""
    if request.param == "sqlite":
        with World("", tmp_path) as world:
            yield world
        return
    with PostgreSQL.started() as server, World(server.fresh(), tmp_path) as world:
        world.postgresql = server
        yield world


async def test_a_killed_worker_takes_its_running_job_up_again(world: World) -> None:
    server = world.server("--seconds-per-node", "0.8")
    worker = world.worker()
    async with world.open() as queue:
        await queue.fleet.add(str(server.words["url"]))
        job = (await queue.submit(work(1), "me")).job
        await until(lambda: _in(queue, job.id, JobState.RUNNING))
        worker.end(signal.SIGKILL)
        await asyncio.sleep(0.5)
        worker.start()
        done = await queue.wait(job.id, timeout=60)
        assert done.state is JobState.DONE and done.attempt == 1
        assert [attempt.outcome for attempt in await queue.attempts(job.id)] == ["done"]
        await check_exactly_once(queue, 1)


async def _in(queue, job: str, state: JobState) -> bool:
    return (await queue.get(job)).state is state


@pytest.mark.timeout(1800)
async def test_random_kills_and_freezes_lose_nothing_and_do_nothing_twice(world: World) -> None:
    chance = random.Random(6)
    for _ in range(3):
        world.server("--seconds-per-node", "0.05")
    names = ["one"] if world.database.startswith("sqlite") else ["one", "two"]
    for name in names:
        world.worker(name)
    async with world.open() as queue:
        for server in world.servers:
            await queue.fleet.add(str(server.words["url"]))
        for number in range(COUNT):
            await queue.submit(work(number), "me")
        for _ in range(BLOWS):
            if world.postgresql is not None and chance.random() < 0.2:
                await asyncio.to_thread(world.postgresql.restart_hard)
            else:
                await asyncio.to_thread(strike, chance, chance.choice([*world.workers, *world.servers]))
            await asyncio.sleep(chance.uniform(0.2, 1.0))
        await until(lambda: all_over(queue), 1500 if WHOLE else 100)
        await check_exactly_once(queue, COUNT)


def strike(chance: random.Random, process: Process) -> None:
    """Kill a process and start it again, or freeze it for a while."""
    import time

    if chance.random() < 0.5:
        process.end(signal.SIGKILL)
        process.start()
    else:
        process.send(signal.SIGSTOP)
        time.sleep(chance.uniform(0.2, 4.0))
        process.send(signal.SIGCONT)
