"""Jobs while the network between a worker and its servers is cut, silent or slow, and while the clock jumps."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from comfyops.jobs.clients import ClientSettings
from comfyops.jobs.dispatcher import Dispatcher, DispatcherSettings
from comfyops.jobs.probing import ProbeSettings
from comfyops.jobs.queue import Queue
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import SimulatorSettings
from tests.chaos.job_checks import all_over, check_exactly_once
from tests.chaos.job_world import until, work
from tests.chaos.line import Line
from tests.chaos.plans import SEED, WHOLE

COUNT = 500 if WHOLE else 16
TROUBLES = 40 if WHOLE else 3
HOUR = 3600.0
QUICK = DispatcherSettings(
    lease=4.0,
    look=0.2,
    tidy=0.5,
    client=ClientSettings(timeout=1.0, stall_timeout=20.0, away=1.5),
    probe=ProbeSettings(every=0.5, every_down=0.2, quarantine=0.2, canary=2.0),
)


@dataclass
class Clock:
    """The machine's clock, as somebody set it."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Near:
    """A queue and a dispatcher in this process, and servers behind lines."""

    queue: Queue
    lines: list[Line] = field(default_factory=list)
    records: dict[str, Path] = field(default_factory=dict)


@asynccontextmanager
async def near(folder: Path, clock: Clock, servers: int = 2, seconds: float = 0.05) -> AsyncIterator[Near]:
    """So many simulated servers whose nodes take so many seconds."""
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("", folder / "queue", clock=clock))
        await stack.enter_async_context(Dispatcher(queue, "one", QUICK))
        world = Near(queue)
        for number in range(servers):
            record = folder / f"runs{number}.jsonl"
            settings = SimulatorSettings(port=0, seconds_per_node=seconds, record=record)
            server = await stack.enter_async_context(Simulator(settings))
            line = await stack.enter_async_context(Line(server.url))
            world.lines.append(line)
            world.records[line.url] = record
            await queue.fleet.add(line.url)
        yield world


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trouble", ["cut", "silent", "slow"])
async def test_a_network_in_trouble_loses_nothing_and_doubles_nothing(trouble: str, tmp_path: Path) -> None:
    print(f"to have the same troubles again: CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    async with near(tmp_path, Clock()) as world:
        await world.queue.submit_batch([work(number) for number in range(COUNT)], "me")
        for _ in range(TROUBLES):
            line = chance.choice(world.lines)
            {"cut": line.cut, "silent": line.silence, "slow": lambda line=line: line.slow(0.05)}[trouble]()
            await asyncio.sleep(chance.uniform(0.1, 2.5))
            line.mend()
            await asyncio.sleep(chance.uniform(0.0, 0.5))
        await until(lambda: all_over(world.queue), 300)
        await check_exactly_once(world.queue, COUNT, world.records)


async def test_a_clock_that_jumps_an_hour_either_way_neither_loses_a_job_nor_runs_one_again(tmp_path: Path) -> None:
    clock = Clock()
    async with near(tmp_path, clock) as world:
        for start, jump in enumerate((HOUR, -HOUR, -HOUR, HOUR)):
            await world.queue.submit_batch([work(start * 100 + number) for number in range(6)], "me")
            await until(lambda: _some_run(world.queue))
            clock.ahead += jump
        await until(lambda: all_over(world.queue))
        await check_exactly_once(world.queue, 24, world.records)
        assert {job.attempt for job in (await world.queue.ls()).jobs} == {1}


async def _some_run(queue: Queue) -> bool:
    return (await queue.stats())["running"] > 0
