"""Jobs from end to end: a dispatcher, simulated servers, and what goes wrong between them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from comfyops.errors import DispatcherTakenError
from comfyops.jobs import placing, schema
from comfyops.jobs.clients import ClientSettings
from comfyops.jobs.dispatcher import Dispatcher, DispatcherSettings
from comfyops.jobs.job import Job, JobState, Submission
from comfyops.jobs.probing import ProbeSettings
from comfyops.jobs.queue import Queue
from comfyops.jobs.quotas import Quota
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import Faults, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from tests.unit.jobs.conftest import address_of

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
SECONDS = 60.0
QUICK = DispatcherSettings(
    lease=4.0,
    look=0.2,
    tidy=0.5,
    client=ClientSettings(timeout=10.0, stall_timeout=2.0, away=1.5),
    probe=ProbeSettings(every=0.5, every_down=0.2, quarantine=0.2, canary=2.0),
)


ON_BOTH = frozenset(
    [
        "test_a_job_is_run_once_and_its_picture_is_kept_by_its_content",
        "test_a_server_that_dies_loses_no_job",
        "test_cancel_stops_a_job_in_its_state_and_waits_for_it",
        "test_a_stopped_dispatcher_leaves_its_jobs_to_the_next",
        "test_a_second_dispatcher_is_refused",
    ]
)
"""The tests that run on PostgreSQL too unless all tests run, where all do."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        both = WHOLE or metafunc.function.__name__ in ON_BOTH
        metafunc.parametrize("database", ["sqlite", "postgresql"] if both else ["sqlite"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database."""
    return address_of(request)


def of(graph: Graph, **options: Any) -> Submission:
    return Submission(api_format.dump(graph), **options)


def picture(**options: Any) -> Submission:
    return of(graphs.picture(), **options)


@dataclass
class World:
    """A queue with a dispatcher at work, and servers that are added as a test wants them."""

    queue: Queue
    folder: Path
    stack: AsyncExitStack
    dispatcher: Dispatcher

    async def server(self, name: str = "one", **options: Any) -> Simulator:
        """A simulated server in the fleet."""
        simulator = await self.stack.enter_async_context(Simulator(SimulatorSettings(port=0, **options)))
        await self.queue.fleet.add(simulator.url, name=name)
        await until(lambda: self.has_state(name, "up"))
        return simulator

    async def has_state(self, backend: str, *states: str) -> bool:
        """Whether a backend is in one of these states."""
        return (await self.queue.fleet.get(backend)).state in states

    async def submit(self, submission: Submission, owner: str = "anna") -> Job:
        """Accept a job."""
        return (await self.queue.submit(submission, owner)).job

    async def end_of(self, job: Job | str) -> Job:
        """A job once it is over."""
        return await self.queue.wait(job if isinstance(job, str) else job.id, timeout=SECONDS)

    async def reaches(self, job: Job, *states: JobState) -> None:
        """Wait until a job is in one of these states."""

        async def there() -> bool:
            return (await self.queue.get(job.id)).state in states

        await until(there)


async def until(what: Any) -> None:
    give_up = time.monotonic() + SECONDS
    while not await what():
        assert time.monotonic() < give_up, "it does not happen"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(database: str, folder: Path, settings: DispatcherSettings = QUICK) -> AsyncIterator[World]:
    async with (
        AsyncExitStack() as stack,
        Queue(database, folder) as queue,
        Dispatcher(queue, "test", settings) as dispatcher,
    ):
        yield World(queue, folder, stack, dispatcher)


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(database, tmp_path / "queue") as world:
        yield world


async def test_a_job_is_run_once_and_its_picture_is_kept_by_its_content(world: World) -> None:
    server = await world.server()
    job = await world.submit(picture())
    done = await world.end_of(job)
    assert (done.state, done.attempt, done.outputs_count) == (JobState.DONE, 1, 1)
    (output,) = await world.queue.outputs(job.id, "anna")
    data = world.queue.files.path(output.hash).read_bytes()
    assert data[:4] == b"\x89PNG" and (output.size, output.mime, output.kind) == (len(data), "image/png", "image")
    assert [attempt.outcome for attempt in await world.queue.attempts(job.id)] == ["done"]
    assert len(list(server.folders.output.rglob("*.png"))) == 1
    states = [e.data["state"] async for e in world.queue.events(job.id) if e.type == "state"]
    assert states == ["waiting", "bound", "running", "storing", "done"]
    assert "one" in (await world.queue.explain(job.id)).placements[0].backend


async def test_a_text_and_several_outputs_are_kept(world: World) -> None:
    await world.server()
    text = await world.end_of(await world.submit(of(graphs.words("hello"))))
    assert [(o.kind, o.text) for o in await world.queue.outputs(text.id)] == [("text", "hello")]


async def test_a_refused_graph_fails_with_the_servers_reason_and_is_not_tried_again(world: World) -> None:
    await world.server()
    failed = await world.end_of(await world.submit(of(graphs.bad())))
    assert failed.state is JobState.FAILED and failed.attempt == 1 and failed.error is not None
    assert failed.error.code == "rejected" and failed.error.permanent
    assert failed.error.details["node_errors"][0]["node"] == "1"


async def test_a_node_that_fails_twice_the_same_way_fails_the_job(world: World) -> None:
    await world.server(faults=Faults(fail_class="SaveImage"))
    failed = await world.end_of(await world.submit(picture()))
    assert failed.state is JobState.FAILED and failed.attempt == 2 and failed.error is not None
    assert (failed.error.node, failed.error.class_type) == ("2", "SaveImage")


async def test_a_server_that_dies_loses_no_job(world: World) -> None:
    dying = await world.server("dying", seconds_per_node=0.4)
    job = await world.submit(of(graphs.slow(4, size=16)))
    await world.reaches(job, JobState.RUNNING)
    await dying.stop()
    await until(lambda: world.has_state("dying", "down"))
    await world.server("other")
    done = await world.end_of(job)
    assert done.state is JobState.DONE and done.attempt >= 2
    assert (await world.queue.attempts(job.id))[-1].backend == "other"


async def test_a_server_that_accepts_and_never_runs_is_quarantined_and_its_job_moved(world: World) -> None:
    await world.server("liar", faults=Faults(dead_worker=True))
    job = await world.submit(picture())
    await world.reaches(job, JobState.RUNNING)
    await world.server("honest")
    done = await world.end_of(job)
    assert done.state is JobState.DONE
    assert [a.backend for a in await world.queue.attempts(job.id)] == ["liar", "honest"]
    assert await world.has_state("liar", "quarantined")
    assert "does not run" in (await world.queue.fleet.get("liar")).reason


async def test_a_server_that_forgets_gets_the_job_again(world: World) -> None:
    await world.server(faults=Faults(forget_after_runs=1), seconds_per_node=0.05)
    jobs = [await world.submit(picture()) for _ in range(3)]
    assert [(await world.end_of(job)).state for job in jobs] == [JobState.DONE] * 3


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.RUNNING])
async def test_cancel_stops_a_job_in_its_state_and_waits_for_it(world: World, state: JobState) -> None:
    if state is not JobState.WAITING:
        server = await world.server(seconds_per_node=0.3)
    job = await world.submit(of(graphs.slow(30, size=16)))
    await world.reaches(job, state)
    assert (await world.queue.cancel(job.id, "anna")).state is JobState.CANCELLED
    if state is not JobState.WAITING:
        other = await world.submit(picture())  # the server is free again, at once
        assert (await world.end_of(other)).state is JobState.DONE
        assert len(list(server.folders.output.rglob("*.png"))) == 1


async def test_a_job_takes_the_output_of_another(world: World) -> None:
    await world.server()
    first = await world.submit(picture())
    graph = api_format.dump(graphs.load("x"))
    graph["1"]["inputs"]["image"] = {"$output": {"job": first.id, "index": 0}}
    second = await world.submit(Submission(graph))
    assert (await world.end_of(second)).state is JobState.DONE
    assert (await world.end_of(first)).state is JobState.DONE
    (made,), (again,) = await world.queue.outputs(first.id), await world.queue.outputs(second.id)
    assert made.mime == again.mime == "image/png" and again.size > 0
    graph["1"]["inputs"]["image"] = {"$output": {"job": first.id, "index": 7}}
    failed = await world.end_of(await world.submit(Submission(graph)))
    assert failed.state is JobState.FAILED and failed.error is not None and failed.error.code == "dependency"


async def test_urgent_jobs_go_first_and_delayed_ones_wait(world: World) -> None:
    await world.queue.pause()
    await world.server()
    late = await world.submit(picture(delay=3600))
    normal = [await world.submit(picture()) for _ in range(3)]
    urgent = await world.submit(picture(priority=-1))
    await world.queue.resume()
    ends = [await world.end_of(job) for job in [*normal, urgent]]
    assert min(ends, key=lambda job: job.bound_at or 0).id == urgent.id
    assert [job.id for job in sorted(ends, key=lambda job: job.bound_at or 0)][1:] == [job.id for job in normal]
    assert (await world.queue.get(late.id)).state is JobState.WAITING
    assert "its time" in (await world.queue.explain(late.id)).reason


async def test_lines_of_jobs_that_were_served_are_not_remembered_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_REMEMBERED", 2)
    await world.server()
    for priority in (1, 2, 3, 2):  # each priority is a line of its own
        await world.end_of(await world.submit(picture(priority=priority)))
    assert [priority for _, priority, _ in world.dispatcher._placer._served] == [3, 2]


async def test_a_job_whose_deadline_passes_is_not_begun(world: World) -> None:
    job = await world.submit(picture(deadline=time.time() + 0.2))
    assert (await world.end_of(job)).state is JobState.EXPIRED
    assert (await world.queue.retry(job.id)).state is JobState.WAITING


async def test_owners_take_turns_and_keep_to_their_quotas(world: World) -> None:
    await world.queue.pause()
    await world.queue.quotas.set(Quota("bert", max_running=0))
    await world.server()
    many = [await world.submit(picture(), "anna") for _ in range(6)]
    few = [await world.submit(picture(), "cora") for _ in range(2)]
    kept = await world.submit(picture(), "bert")
    await world.queue.resume()
    ends = [await world.end_of(job) for job in [*many, *few]]
    order = [job.owner for job in sorted(ends, key=lambda job: job.bound_at or 0)]
    assert set(order[:4]) == {"anna", "cora"} and order[:4].count("cora") == 2
    assert (await world.queue.get(kept.id)).state is JobState.WAITING
    await world.queue.quotas.remove("bert")
    assert (await world.end_of(kept)).state is JobState.DONE


async def test_a_drained_backend_finishes_and_takes_no_more(world: World) -> None:
    await world.server("a", seconds_per_node=0.2)
    running = await world.submit(of(graphs.slow(3, size=16)))
    await world.reaches(running, JobState.RUNNING)
    await world.queue.fleet.drain("a")
    waiting = await world.submit(picture())
    assert (await world.end_of(running)).state is JobState.DONE
    assert (await world.queue.get(waiting.id)).state is JobState.WAITING
    await world.queue.fleet.resume("a")
    assert (await world.end_of(waiting)).state is JobState.DONE


async def test_live_events_tell_of_nodes_and_outputs(world: World) -> None:
    await world.server(seconds_per_node=0.1)
    job = await world.submit(of(graphs.slow(3, size=16)))
    events = [event async for event in world.queue.events(job.id)]
    kinds = {event.type for event in events}
    assert {"state", "started", "node", "outputs"} <= kinds
    lasting = [event.seq for event in events if event.seq]
    assert lasting == list(range(1, len(lasting) + 1))


async def test_another_process_sees_progress_too(world: World) -> None:
    await world.server(seconds_per_node=0.5)
    job = await world.submit(of(graphs.slow(6, size=16)))
    async with Queue(world.queue.database, world.folder) as other:
        events = [event async for event in other.events(job.id)]
    assert any(event.type == "progress" and event.data["nodes"] == 8 for event in events)
    assert events[-1].data["state"] == "done"


async def test_a_stopped_dispatcher_leaves_its_jobs_to_the_next(database: str, tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(port=0, seconds_per_node=0.4)) as server:
        async with opened(database, tmp_path / "queue") as world:
            await world.queue.fleet.add(server.url, name="one")
            job = await world.submit(of(graphs.slow(4, size=16)))
            await world.reaches(job, JobState.RUNNING)
        async with opened(database, tmp_path / "queue") as world:
            done = await world.end_of(job)
            assert done.state is JobState.DONE and done.attempt == 1
        assert len(list(server.folders.output.rglob("*.png"))) == 1


async def test_a_second_dispatcher_is_refused(world: World) -> None:
    async with Queue(world.queue.database, world.folder) as other:
        with pytest.raises(DispatcherTakenError):
            async with Dispatcher(other, "test", QUICK):
                raise AssertionError("it works")
    await world.server()
    assert (await world.end_of(await world.submit(picture()))).state is JobState.DONE


async def test_a_dispatcher_whose_name_was_taken_stops_placing(world: World) -> None:
    await world.server()
    gone = schema.dispatchers.delete()
    await world.queue.store.write(lambda tx: tx.execute(gone))
    with pytest.raises(DispatcherTakenError, match="took the name"):
        await asyncio.wait_for(world.dispatcher.serve(), SECONDS)
    job = await world.submit(picture())
    await asyncio.sleep(1.0)
    assert (await world.queue.get(job.id)).state is JobState.WAITING


async def test_a_backend_on_which_jobs_fail_that_run_elsewhere_is_quarantined(world: World) -> None:
    await world.server("poisoned", faults=Faults(fail_class="SaveImage"))
    await world.server("sound")
    for _ in range(6):
        jobs = [await world.submit(picture()) for _ in range(2)]
        ends = [await world.end_of(job) for job in jobs]
        assert [end.state for end in ends] == [JobState.DONE] * 2, [await world.queue.attempts(end.id) for end in ends]
        if await world.has_state("poisoned", "quarantined"):
            return
    raise AssertionError("it still gets jobs")
