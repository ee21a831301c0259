"""What the backend in memory offers to tests beyond the contract."""

import asyncio

import pytest

from comfyops.backends.events import Outcome
from comfyops.errors import RunLostError
from comfyops.testing import graphs
from comfyops.testing.fakes import FakeBackend


async def test_a_class_that_is_told_to_fail_fails():
    backend = FakeBackend(fail_classes=("EmptyImage",))
    events = [event async for event in backend.run(graphs.picture())]
    assert events[-1].outcome is Outcome.FAILED and events[-1].failure.class_type == "EmptyImage"


async def test_a_restart_loses_what_is_under_way_and_the_next_run_works():
    backend = FakeBackend(seconds_per_node=0.05)
    queued = await backend.submit(graphs.slow(20))
    events = backend.watch(queued.run_id)
    await anext(events)
    backend.restart()
    with pytest.raises(RunLostError):
        async with asyncio.timeout(5):
            async for _ in events:
                pass
    with pytest.raises(RunLostError):
        await backend.result(queued.run_id)
    end = [event async for event in backend.run(graphs.picture())][-1]
    assert end.outcome is Outcome.SUCCESS


async def test_the_same_graph_always_gives_the_same_picture():
    pictures = []
    for _ in range(2):
        backend = FakeBackend()
        end = [event async for event in backend.run(graphs.picture(5))][-1]
        pictures.append(await backend.fetch(end.outputs[0]))
    other = FakeBackend()
    end = [event async for event in other.run(graphs.picture(6))][-1]
    assert pictures[0] == pictures[1] != await other.fetch(end.outputs[0])
    assert b"simulated" in pictures[0]


async def test_submitted_graphs_are_listed():
    backend, graph = FakeBackend(), graphs.picture()
    await backend.submit(graph)
    assert backend.submitted == [graph]
