"""Runs that are found again by a key."""

from __future__ import annotations

from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import RunFailedError
from comfyops.execution.keys import run_id_of
from comfyops.execution.run import execute, raise_unless_successful
from comfyops.simulator import Faults, Simulator, SimulatorSettings
from comfyops.testing import graphs


async def test_what_went_well_is_found_again_by_another_client() -> None:
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        async with ComfyUI(simulator.url) as first:
            run_id = await run_id_of(first, "order")
            await execute(graphs.picture(), first, run_id=run_id)
        async with ComfyUI(simulator.url) as second:
            assert await run_id_of(second, "order") == run_id
            again = await execute(graphs.picture(), second, run_id=run_id)
            assert again.run_id == run_id and len(await second.jobs()) == 1
            assert await run_id_of(second, "other") != run_id


async def test_what_failed_is_run_anew_under_another_id() -> None:
    faults = Faults(fail_class="EmptyImage")
    async with Simulator(SimulatorSettings(port=0, faults=faults)) as simulator, ComfyUI(simulator.url) as backend:
        run_id = await run_id_of(backend, "order")
        finished = await execute(graphs.picture(), backend, run_id=run_id)
        try:
            raise_unless_successful(finished)
        except RunFailedError:
            following = await run_id_of(backend, "order")
            assert following not in ("", run_id) and await run_id_of(backend, "order") == following
        else:
            raise AssertionError("it did not fail")
