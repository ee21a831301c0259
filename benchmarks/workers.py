"""Whether more workers on one PostgreSQL database carry out more jobs: jobs that take no time, on many servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.server import comfyops
from benchmarks.simulators import simulators
from benchmarks.table import Row
from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue
from comfyops.testing import graphs
from comfyops.workflows import api_format


def measure(count: int = 1600, many: int = 4, servers: int = 48) -> Iterator[Row]:
    """Jobs a second with one worker, and with several; nothing where PostgreSQL is not installed."""
    from _pytest.outcomes import Skipped
    from tests.postgresql import PostgreSQL

    try:
        with PostgreSQL.started() as database, ExitStack() as stack:
            groups = [stack.enter_context(simulators(servers // many)) for _ in range(many)]
            urls = [url for group in groups for url in group]
            rates = {number: asyncio.run(_rate(database.fresh(), number, urls, count)) for number in (1, many)}
    except Skipped:
        print("PostgreSQL is not installed: several workers are not measured", file=sys.stderr)
        return
    how = f"PostgreSQL, {servers} simulated servers, {count:,} jobs of no length, {os.cpu_count()} CPUs for all of it"
    yield Row("jobs", "carried out by 1 worker", rates[1], "1/s", how)
    yield Row("jobs", f"carried out by {many} workers", rates[many], "1/s", how)
    yield Row("jobs", f"1 worker, times {many} workers", rates[1] / rates[many], "x", how, 1 / 3)


@contextmanager
def _workers(database: str, number: int, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "COMFYOPS_HOME": str(folder), "COMFYOPS_QUEUE_FOLDER": str(folder)}
    processes = [
        subprocess.Popen(
            [comfyops(), "worker", "--database", database, "--name", f"worker{which}"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for which in range(number)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


async def _rate(database: str, number: int, urls: Sequence[str], count: int) -> float:
    """Jobs a second, from the submission of all until the last one is done."""
    with tempfile.TemporaryDirectory() as folder:
        async with await asyncio.to_thread(Queue, database, Path(folder)) as queue:
            for url in urls:
                await queue.fleet.add(url)
            with _workers(database, number, Path(folder)):
                await _ready(queue, number)
                some = [Submission(api_format.dump(graphs.picture(color))) for color in range(count)]
                began = time.perf_counter()
                await queue.submit_batch(some, "bench")
                while (await queue.stats())["done"] < count:  # noqa: ASYNC110 (the other end is in other processes)
                    await asyncio.sleep(0.05)
                return count / (time.perf_counter() - began)


async def _ready(queue: Queue, number: int) -> None:
    """Wait until every server is up, and each worker has some."""
    while True:
        rows = await queue.fleet.ls()
        if all(row.state == "up" for row in rows) and len({row.dispatcher for row in rows}) == number:
            return
        await asyncio.sleep(0.1)
