"""Durable jobs while gateway, workers, servers and database are killed and frozen.

None is lost, none done twice in effect, none stuck.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.jobs.job import JobState
from comfyops.jobs.queue import Queue
from tests.chaos.job_checks import all_over, check_exactly_once
from tests.chaos.job_client import Client
from tests.chaos.job_world import Process, World, until, work
from tests.chaos.plans import SEED, WHOLE
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


@pytest.mark.parametrize("world", ["sqlite", "postgresql"] if WHOLE else ["sqlite"], indirect=True)
async def test_a_killed_worker_takes_its_running_job_up_again(world: World) -> None:
    server = world.server("--seconds-per-node", "0.8")
    worker = world.worker()
    async with world.open() as queue:
        await queue.fleet.add(str(server.words["url"]))
        job = (await queue.submit(work(1), "me")).job
        await until(lambda: _in(queue, job.id, JobState.RUNNING))
        worker.end(signal.SIGKILL)
        worker.start()
        done = await queue.wait(job.id, timeout=60)
        assert done.state is JobState.DONE and done.attempt == 1
        await check_exactly_once(queue, 1, world.records)


async def _in(queue: Queue, job: str, state: JobState) -> bool:
    return (await queue.get(job)).state is state


@pytest.mark.timeout(3000)
async def test_random_kills_and_freezes_lose_nothing_and_do_nothing_twice(world: World) -> None:
    print(f"to have the same blows again: CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(3 if WHOLE else 2):
        world.server("--seconds-per-node", "0.15" if WHOLE else "0.05")
    gateway = world.gateway()
    for name in ("one", "two")[: 2 if WHOLE else 1] if world.postgresql else ():
        world.worker(name)
    client = Client(gateway)
    async with world.open() as queue:
        submitting = asyncio.create_task(client.submit(COUNT))
        for _ in range(BLOWS):
            await strike(chance, world)
            await asyncio.sleep(chance.uniform(0.2, 1.0))
        await submitting
        await until(lambda: all_over(queue), 1500 if WHOLE else 100)
        await check_exactly_once(queue, COUNT, world.records, client.accepted)


async def strike(chance: random.Random, world: World) -> None:
    """Kill one of the world's processes and start it again, or freeze it for a while."""
    if world.postgresql is not None and chance.random() < 0.2:
        freezes = chance.random() < 0.5
        await asyncio.to_thread(*((world.postgresql.freeze, 3.0) if freezes else (world.postgresql.restart_hard,)))
        return
    process = chance.choice([*world.workers, *world.servers])
    if chance.random() < 0.5:
        await asyncio.to_thread(kill_and_start, process)
    else:
        await asyncio.to_thread(freeze, process, chance.uniform(0.2, 4.0))


def kill_and_start(process: Process) -> None:
    """Kill a process and start it again at once."""
    process.end(signal.SIGKILL)
    process.start()


def freeze(process: Process, seconds: float) -> None:
    """Have a process stand still for a while."""
    process.send(signal.SIGSTOP)
    time.sleep(seconds)
    process.send(signal.SIGCONT)
