"""How quick the simulator answers, beside what was recorded of real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

import aiohttp

from benchmarks.server import server as running
from benchmarks.table import Row
from comfyops.testing import graphs
from comfyops.workflows import api_format

CONNECTIONS = 8


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Requests per second, and from POST /prompt to the history of a trivial cached workflow."""
    with running(server) as (url, name):
        rate, ms = asyncio.run(_both(url, seconds=0.2 if quick else 2.0, jobs=20 if quick else 200))
    how = f"{CONNECTIONS} connections, {name}; ComfyUI 0.33.0 itself: 7,200 (recorded on another machine)"
    yield Row("server", "GET /queue", rate, "1/s", how)
    how = f"polled, cached, {name}; ComfyUI 0.33.0 itself: 1.6 ms (recorded on another machine)"
    yield Row("server", "POST /prompt to history", ms, "ms", how)


async def _both(url: str, *, seconds: float, jobs: int) -> tuple[float, float]:
    async with aiohttp.ClientSession() as session:
        return await requests_per_second(session, f"{url}/queue", seconds), await to_history(session, url, jobs)


async def requests_per_second(session: aiohttp.ClientSession, address: str, seconds: float) -> float:
    """How many answers one process gets, one connection for each of several tasks."""
    began = time.perf_counter()

    async def ask() -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            async with session.get(address) as response:
                response.raise_for_status()
                await response.read()
            count += 1
        return count

    counts = await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return sum(counts) / (time.perf_counter() - began)


async def to_history(session: aiohttp.ClientSession, url: str, jobs: int) -> float:
    """Median milliseconds from sending a graph until the history has it, asked without pause."""
    body = {"prompt": api_format.dump(graphs.picture(prefix="comfyops-bench")), "client_id": "bench"}
    taken = []
    for _ in range(jobs):
        began = time.perf_counter()
        async with session.post(f"{url}/prompt", json=body) as response:
            run_id = (await response.json())["prompt_id"]
        while True:
            async with session.get(f"{url}/history/{run_id}") as response:
                if run_id in await response.json():
                    break
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000
