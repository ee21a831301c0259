"""A backend that has had no job for a while is asked to unload its models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from comfyops.backends.comfyui import ComfyUI
from comfyops.jobs.dispatcher import Dispatcher, DispatcherSettings
from comfyops.jobs.job import Submission
from comfyops.jobs.probing import ProbeSettings
from comfyops.jobs.queue import Queue
from comfyops.simulator import Simulator, SimulatorSettings
from tests.unit.api.rig import picture


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.05)


async def test_models_are_unloaded_once_nothing_ran_for_so_long(tmp_path: Path) -> None:
    settings = DispatcherSettings(probe=ProbeSettings(every=0.2, idle=0.5))
    async with (
        Simulator(SimulatorSettings(port=0)) as simulator,
        await asyncio.to_thread(Queue, "", tmp_path) as queue,
        ComfyUI(simulator.url) as client,
    ):

        async def free() -> int:
            return (await client.system_stats()).devices[0].vram_free

        async def unloaded() -> bool:
            return (await queue.fleet.ls())[0].loaded == "" and await free() == before

        before = await free()
        await queue.fleet.add(simulator.url)
        async with Dispatcher(queue, "one", DispatcherSettings(probe=ProbeSettings(every=0.2))):
            await queue.wait((await queue.submit(Submission(picture()), "ann")).job.id, timeout=30)
            (row,) = await queue.fleet.ls()
            assert "sd_xl_base" in row.loaded and await free() < before, "without the setting they stay"
        async with Dispatcher(queue, "two", settings):
            await until(unloaded)
            again = await queue.wait((await queue.submit(Submission(picture(2)), "ann")).job.id, timeout=30)
            assert again.state.value == "done"
            await until(unloaded)
