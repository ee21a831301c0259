"""What would break a server is not sent to it, also where nobody looked at a job before it was queued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from comfyops.errors import ComfyOpsError
from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.job import JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.api_format import is_nested
from tests.poison import GOOD, HARMFUL, POISON
from tests.unit.jobs.test_dispatcher import QUICK, World

_TOO_DEEP = 300  # levels, for the JSON library that reads and writes jobs


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("", tmp_path / "queue"))
        dispatcher = await stack.enter_async_context(Dispatcher(queue, "d", QUICK))
        yield World(queue, tmp_path, stack, dispatcher)


@pytest.mark.parametrize("version", ["0.33.0", "0.8.0"])
async def test_poison_that_was_queued_fails_and_leaves_the_server_well(world: World, version: str) -> None:
    settings = SimulatorSettings(port=0, version=version, faithful_poison=True)
    jobs = {}
    for name, body in _harmful(version).items():
        given = Submission(body["prompt"], extra_data=body.get("extra_data", {}))
        try:
            jobs[name] = (await world.queue.submit(given, "anna")).job.id
        except (ComfyOpsError, RecursionError):
            continue
    assert len(jobs) > 10
    simulator = await world.stack.enter_async_context(Simulator(settings))
    await world.queue.fleet.add(simulator.url, name="one")
    for name, job in jobs.items():
        found = await world.queue.wait(job, timeout=60)
        assert found.state is JobState.FAILED and found.error is not None, name
        assert found.error.code == "rejected", (name, found.error)
    good = (await world.queue.submit(Submission(GOOD), "anna")).job.id
    assert (await world.queue.wait(good, timeout=60)).state is JobState.DONE


def _harmful(version: str) -> dict[str, Any]:
    """The poison that can be said as a graph and data beside it."""
    return {
        name: poison.body
        for name, poison in POISON.items()
        if poison.effect(version) in HARMFUL
        and isinstance(poison.body, dict)
        and isinstance(poison.body.get("prompt"), dict)
        and isinstance(poison.body.get("extra_data", {}), dict)
        and not poison.body.keys() - {"prompt", "extra_data"}
        and "client_id" not in poison.body.get("extra_data", {})
        and not is_nested(poison.body, _TOO_DEEP)
    }
