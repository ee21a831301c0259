"""Checking workflows offline, beside the time that a real server takes for the same kind of graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import aiohttp

from benchmarks import graphs
from benchmarks.table import Row
from benchmarks.timing import interleaved, interleaved_async
from comfyops.workflows import api_format
from comfyops.workflows.node_types import shipped
from comfyops.workflows.validate import report

GOAL_MS = 50.0
RECORDED = {  # p50 ms of ComfyUI 0.33.0, recorded on another machine that was busy
    "wide 10": 1.2,
    "wide 100": 1.3,
    "wide 1000": 7.5,
    "wide 5000": 42.0,
    "chain 900": 14.8,
    "tree 1000": 18.2,
}


def cases(large: int) -> dict[str, graphs.Prompt]:
    """Name and graph of each case; `large` is the size of the largest (5,000)."""
    sizes = [size for size in (10, 100, 1000) if size < large] + [large]
    found = {f"wide {size}": graphs.wide(size) for size in sizes}
    found |= {f"chain {min(900, large)}": graphs.chain(min(900, large))}
    found |= {f"tree {min(1000, large)}": graphs.tree(min(1000, large))}
    found |= {f"tree {large}": graphs.tree(large)} if large > 1000 else {}
    return found | {f"diffusion {large + 1}": graphs.diffusion(large + 1)}


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Reading the text of a workflow and checking it whole; and only the checking of a graph that was read."""
    todo = cases(200 if quick else 5000)
    repeats = 3 if quick else 15
    theirs = asyncio.run(_server_times(server, todo, repeats)) if server else {}
    for name, prompt in todo.items():
        _assert_valid(prompt, name)
        taken = interleaved(_work(json.dumps(prompt)), repeats)
        yield Row("validation", name, taken["check"] * 1000, "ms", _peer(name, theirs), GOAL_MS)
        yield Row("validation", f"{name}, JSON text read too", taken["whole"] * 1000, "ms", f"{len(prompt)} nodes")


def _work(text: str) -> Mapping[str, Callable[[], object]]:
    types = shipped()
    graph = api_format.loads(text)
    return {"check": lambda: report(graph, types), "whole": lambda: report(api_format.loads(text), types)}


def _assert_valid(prompt: graphs.Prompt, name: str) -> None:
    found = report(api_format.parse(prompt), shipped())
    if not found.valid:
        raise AssertionError(f"the benchmark's own graph {name!r} is faulty: {found.problems[0].message}")


def _peer(name: str, theirs: Mapping[str, float]) -> str:
    if name in theirs:
        return f"the server itself: {theirs[name] * 1000:.1f} ms with its HTTP answer, in this run"
    if name in RECORDED:
        return f"ComfyUI 0.33.0 itself: {RECORDED[name]:g} ms with its HTTP answer (recorded on another machine)"
    return "median; no figure of a server"


async def _server_times(server: str, todo: Mapping[str, graphs.Prompt], repeats: int) -> dict[str, float]:
    """Seconds that a server takes to validate; `extra_data` of the wrong kind makes it refuse after that, unqueued."""
    async with aiohttp.ClientSession() as session:

        async def post(body: bytes) -> None:
            async with session.post(f"{server}/prompt", data=body) as response:
                if response.status not in (400, 500):
                    raise AssertionError(f"the server was not to queue this, but answered {response.status}")
                await response.read()

        found: dict[str, float] = {}
        for name, prompt in todo.items():
            if not name.startswith("diffusion"):  # its model file may be missing there
                body = json.dumps({"prompt": prompt, "client_id": "bench", "extra_data": "x"}).encode()
                found |= await interleaved_async({name: partial(post, body)}, repeats)
        return found
