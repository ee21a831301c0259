"""Durable jobs: what the queue adds to a job, how well it uses a fleet, and what it costs while nothing happens.

Backends are simulated servers in a process of their own. Where a figure is of simulated time only, `how` says so.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import aiohttp

from benchmarks import graphs, idle, placements, workers
from benchmarks.schedules import Fleet, Task, best_possible, first_come, offer
from benchmarks.simulators import MODELS, simulators
from benchmarks.table import Row
from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.job import Submission
from comfyops.jobs.offers import Fits
from comfyops.jobs.placement import place
from comfyops.jobs.queue import Queue
from comfyops.jobs.situation import Busy, Group, Owner, Situation, Standing

_MIXES = {"even": (1, 1, 1, 1), "skewed": (70, 15, 10, 5)}


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Placement alone, then the queue with simulated servers; a given server is not used."""
    yield from _schedules(300 if quick else 2000)
    yield _round_of_many(quick=quick)
    yield from asyncio.run(_small(quick=quick))
    yield from idle.measure(quick=quick)
    yield from asyncio.run(_fleet(quick=quick))
    if not quick:
        yield from workers.measure()
        yield from placements.measure()


def tasks(mix: str, count: int, run: float) -> list[Task]:
    """Jobs over four models in random order, one just after the other."""
    chance = random.Random(1)
    return [Task(chance.choices(MODELS, _MIXES[mix])[0], run, at=number * 1e-6) for number in range(count)]


def _schedules(count: int) -> Iterator[Row]:
    for mix in _MIXES:
        given = tasks(mix, count, 1.0)
        backends = [Standing(f"b{number}", offer(MODELS)) for number in range(16)]
        took = Fleet(given, backends, 20.0).run().makespan
        naive = Fleet(given, backends, 20.0, choose=first_come).run().makespan
        how = f"16 backends, {count:,} jobs, 4 models ({mix}), loading = 20 jobs; simulated time"
        yield Row("jobs", f"makespan, times the bound ({mix})", took / best_possible(given, 16, 20.0), "x", how, 1.15)
        yield Row("jobs", f"makespan, times first come first served ({mix})", took / naive, "x", how, 0.5)


def _round_of_many(*, quick: bool) -> Row:
    """One round over many backends and groups, all but ten of the backends busy."""
    chance, count = random.Random(0), 100 if quick else 1000
    offers = [offer(MODELS, f"zone{number}") for number in range(10)]
    backends = [
        Standing(
            f"b{n}", offers[n % 10], f"checkpoints/{chance.choice(MODELS)}", 0.0, None if n < 10 else Busy("o", 0.0)
        )
        for n in range(count)
    ]
    needs = [Fleet([Task(model)], [], 0.0).needs[Task(model)] for model in MODELS]
    groups = [Group(f"o{n % 40}", n % 3, needs[n % 4], 100, float(n)) for n in range(200)]
    situation = Situation(groups, backends, 1000.0, {f"o{n}": Owner() for n in range(40)})
    fits, taken = Fits(), []
    for _ in range(21):
        began = time.perf_counter()
        place(situation, fits)
        taken.append((time.perf_counter() - began) * 1000)
    return Row("jobs", "one round of placement", median(taken[1:]), "ms", f"{count:,} backends, 200 groups, 10 free")


@asynccontextmanager
async def queue_of(urls: Sequence[str], folder: Path) -> AsyncIterator[Queue]:
    """A queue on SQLite with its dispatcher, once every backend is known to be up."""
    async with await asyncio.to_thread(Queue, "", folder) as queue, Dispatcher(queue, "bench"):
        for url in urls:
            await queue.fleet.add(url)
        while not all(row.state == "up" for row in await queue.fleet.ls()):  # noqa: ASYNC110 (there is no event)
            await asyncio.sleep(0.05)
        yield queue


def submission(model: str, seed: int, **more: object) -> Submission:
    """A small picture by a model; each seed is another one."""
    return Submission(graphs.painting(model, seed), **more)  # type: ignore[arg-type]


async def _small(*, quick: bool) -> list[Row]:
    with simulators(2) as urls, tempfile.TemporaryDirectory() as folder:
        async with queue_of(urls, Path(folder)) as queue, aiohttp.ClientSession() as session:
            rows = [await _overhead(queue, session, 10 if quick else 200)]
            rows.append(await _idle(1.0 if quick else 20.0))
            rows.append(await _behind_many(queue, session, 100 if quick else 10_000, 10 if quick else 100))
    return rows


async def _overhead(queue: Queue, session: aiohttp.ClientSession, count: int) -> Row:
    waits = [await _wait_of(queue, session, seed) for seed in range(count + 2)][2:]
    how = f"SQLite, one job after the other, {count} jobs; the server's own time of start"
    return Row("jobs", "submit to start of the run, median", median(waits), "ms", how, 60)


async def _wait_of(queue: Queue, session: aiohttp.ClientSession, seed: int, **more: object) -> float:
    """Milliseconds from the call of `submit` until the backend says that the run began."""
    began = time.time()
    accepted = await queue.submit(submission(MODELS[0], seed, **more), "bench")
    job = await queue.wait(accepted.job.id)
    [attempt] = await queue.attempts(job.id)
    backends = {row.id: row.url for row in await queue.fleet.ls()}
    async with session.get(f"{backends[attempt.backend]}/history/{attempt.prompt_id}") as response:
        messages = (await response.json())[attempt.prompt_id]["status"]["messages"]
    started = next(facts["timestamp"] for name, facts in messages if name == "execution_start")
    return started - began * 1000


async def _idle(seconds: float) -> Row:
    await asyncio.sleep(0.5)
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = 100 * (time.process_time() - used) / (time.perf_counter() - began)
    return Row("jobs", "CPU of an idle queue and dispatcher", share, "%", f"2 backends, {seconds:g} s, of one core", 2)


async def _behind_many(queue: Queue, session: aiohttp.ClientSession, many: int, count: int) -> Row:
    """Jobs that start at one backend while many wait for the other, which takes none."""
    closed, open_ = (row.id for row in await queue.fleet.ls())
    await queue.fleet.drain(closed)
    for start in range(0, many, 1000):
        some = range(start, min(many, start + 1000))
        await queue.submit_batch([submission(MODELS[1], n, backend=closed) for n in some], f"owner{start % 7}")
    waits = [await _wait_of(queue, session, 100_000 + seed, backend=open_) for seed in range(count + 2)][2:]
    how = f"{many:,} jobs of 7 owners wait for a drained backend, {count} jobs run at the other"
    return Row("jobs", "submit to start with many waiting, p99", quantiles(waits, n=100)[-1], "ms", how, 150)


async def _batch(queue: Queue, some: Sequence[Submission]) -> Sequence[str]:
    return (await queue.submit_batch(some, "bench")).jobs


async def _fleet(*, quick: bool) -> list[Row]:
    """The whole of it in real time: a fleet, four models, loading 20 times a job."""
    count, size, run = (12, 2, 0.05) if quick else (2000, 16, 2.0)
    given = tasks("even", count, run)
    with simulators(size, step=run, load=20 * run) as urls, tempfile.TemporaryDirectory() as folder:
        async with queue_of(urls, Path(folder)) as queue:
            began, used = time.perf_counter(), time.process_time()
            some = [submission(task.model, seed) for seed, task in enumerate(given)]
            jobs = [job for start in range(0, count, 500) for job in await _batch(queue, some[start : start + 500])]
            ends = [await queue.wait(job) for job in jobs]
            took, used = time.perf_counter() - began, time.process_time() - used
    assert all(job.state == "done" for job in ends)
    naive = Fleet(given, [Standing(f"b{n}", offer(MODELS)) for n in range(size)], 20 * run, choose=first_come).run()
    how = f"{size} simulated servers, {count:,} jobs of {run:g} s, 4 models, loading {20 * run:g} s; SQLite"
    return [
        Row("jobs", "fleet, times the bound", took / best_possible(given, size, 20 * run), "x", how, 1.15),
        Row(
            "jobs",
            "fleet, times first come first served",
            took / naive.makespan,
            "x",
            f"{how}; that one simulated",
            0.5,
        ),
        Row("jobs", "CPU of queue and dispatcher for a job", 1000 * used / count, "ms", how),
    ]
