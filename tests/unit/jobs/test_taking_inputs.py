"""Files that jobs take are put onto their backend: read as they are sent, and large ones once."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.jobs import taking_inputs
from comfyops.jobs.job import Job, JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format

MIB = 1024 * 1024


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with Queue("", tmp_path / "queue") as made:
        yield made


async def job_taking(queue: Queue, size: int) -> Job:
    """A job of which a file of this size is the input."""
    path = queue.files.incoming()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(bytes([number % 251]) * MIB)
    kept = await queue.files.keep(path)
    await queue.assets.add("ann", kept, "large.png", "image/png", [])
    graph = api_format.dump(graphs.load("none.png"))
    graph["1"]["inputs"]["image"] = {"$asset": kept.hash}
    job = (await queue.submit(Submission(graph), "ann")).job
    assert job.state is JobState.WAITING
    return job


async def test_a_large_file_is_sent_once(tmp_path: Path, queue: Queue) -> None:
    job = await job_taking(queue, 2 * MIB)
    async with Simulator(SimulatorSettings(port=0, home=tmp_path / "server")) as server, ComfyUI(server.url) as client:
        graph = await taking_inputs.put_in(job, client, queue.store, queue.files)
        (there,) = (tmp_path / "server" / "input" / "comfyops").iterdir()
        assert graph["1"]["inputs"]["image"] == f"comfyops/{there.name}" and there.stat().st_size == 2 * MIB
        before = there.stat().st_mtime_ns
        assert await taking_inputs.put_in(job, client, queue.store, queue.files) == graph
        assert there.stat().st_mtime_ns == before
        there.write_bytes(b"cut short")
        await taking_inputs.put_in(job, client, queue.store, queue.files)
        assert there.stat().st_size == 2 * MIB


async def test_a_large_file_is_never_whole_in_memory(queue: Queue) -> None:
    size, came = 32 * MIB, 0

    async def upload(request: web.Request) -> web.Response:
        nonlocal came
        async for piece in request.content.iter_chunked(64 * 1024):
            came += len(piece)
        return web.json_response({"name": "a.png", "subfolder": "comfyops", "type": "input"})

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=404)

    app = web.Application(client_max_size=2 * size)
    app.add_routes([web.post("/upload/image", upload), web.get("/view", nothing)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    job = await job_taking(queue, size)
    try:
        async with ComfyUI(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            tracemalloc.start()
            await taking_inputs.put_in(job, client, queue.store, queue.files)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    finally:
        await runner.cleanup()
    assert came > size and peak < size / 4
