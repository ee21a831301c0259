"""Whether more dispatchers on one PostgreSQL database place more jobs, where placement and nothing else is the limit.

Only placing is done, by processes of their own: nothing is sent to a server, a run ends the moment it was bound, by one
statement of this measurement. The database is behind a line on which each message takes some time, as over a network;
otherwise the CPUs of one machine, which all of this shares, are the limit, and no number of dispatchers adds any.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import update

from benchmarks.table import Row
from comfyops.jobs import schema
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.job import JobState, Submission
from comfyops.jobs.offers import offer_of
from comfyops.jobs.placing import Placer
from comfyops.jobs.queue import Queue
from comfyops.jobs.rows import dump
from comfyops.jobs.situation import Rules
from comfyops.jobs.store import Store
from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.node_types import shipped

_OWNERS = 8


def measure(count: int = 400, many: int = 4, backends: int = 16, delay: float = 0.01) -> Iterator[Row]:
    """Placements a second of one dispatcher, and of several; nothing where PostgreSQL is not installed."""
    from _pytest.outcomes import Skipped
    from tests.postgresql import PostgreSQL

    try:
        with PostgreSQL.started() as database:
            rates = {n: asyncio.run(_rate(database.fresh(), n, count, backends, delay)) for n in (1, many)}
    except Skipped:
        print("PostgreSQL is not installed: placement by several is not measured", file=sys.stderr)
        return
    how = (
        f"only placing, runs end at once (stubbed); PostgreSQL behind a line of {delay * 1000:g} ms each way, "
        f"{backends} backends, {count} jobs, {os.cpu_count()} CPUs for all of it"
    )
    yield Row("jobs", "placed by 1 dispatcher", rates[1], "1/s", how)
    yield Row("jobs", f"placed by {many} dispatchers", rates[many], "1/s", how)
    yield Row("jobs", f"1 dispatcher, times {many} dispatchers", rates[1] / rates[many], "x", how, 1 / 3)


async def _rate(database: str, number: int, count: int, backends: int, delay: float) -> float:
    from tests.chaos.line import Line

    parts = urlsplit(database)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            await asyncio.to_thread(Queue, database, Path(folder)) as queue,
            Line(f"http://{parts.hostname}:{parts.port}") as line,
        ):
            await _fill(queue, number, count, backends)
            far = urlsplit(line.url).netloc
            address = parts._replace(netloc=parts.netloc.rpartition("@")[0] + "@" + far).geturl()
            workers = [await _worker(address, f"d{which}") for which in range(number)]
            for worker in workers:
                assert worker.stdout is not None
                await worker.stdout.readline()
            line.slow(delay)
            began = time.perf_counter()
            await asyncio.gather(*(worker.communicate(b"\n") for worker in workers))
            took = time.perf_counter() - began
            stats = await queue.stats()
    assert stats["done"] == count, stats
    return count / took


async def _worker(database: str, name: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "benchmarks.placements", database, name]
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)


async def _fill(queue: Queue, number: int, count: int, backends: int) -> None:
    """Backends that are up, dealt out among the dispatchers, and jobs of several owners."""
    offer = offer_of(shipped())
    for which in range(backends):
        row = await queue.fleet.add(f"http://127.0.0.1:{20_000 + which}")
        b = schema.backends.c
        known = {"state": "up", "offer": dump(offer.as_dict()), "offer_key": offer.key, "version": "0"}
        lease = {"dispatcher": f"d{which % number}", "lease_until": 1e12}
        statement = update(schema.backends).where(b.id == row.id).values(**known, **lease)
        await queue.store.write(lambda tx, statement=statement: tx.execute(statement))
    some = [Submission(api_format.dump(graphs.picture(color))) for color in range(count)]
    for owner in range(_OWNERS):
        await queue.submit_batch(some[owner::_OWNERS], f"owner{owner}")


async def _place(database: str, name: str) -> None:
    """Place until nothing waits; what is bound is done."""
    store = await asyncio.to_thread(Store, database)
    placer = Placer(store, Fleet(store), name, Rules())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    j = schema.jobs.c
    while jobs := await placer.round():
        done = {"state": JobState.DONE, "backend": None, "runner": None, "finished_at": store.clock()}
        statement = update(schema.jobs).where(j.id.in_([job.id for job in jobs])).values(**done)
        await store.write(lambda tx, statement=statement: tx.execute(statement))
    await asyncio.to_thread(store.close)


if __name__ == "__main__":
    asyncio.run(_place(*sys.argv[1:]))
