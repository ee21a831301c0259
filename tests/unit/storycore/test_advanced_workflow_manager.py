"""The manager on a simulated server; workflows of the tests, see flows.py."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from comfyops import config
from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Outcome, Queued, Started
from comfyops.errors import RunLostError, UsageError
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.storycore.advanced_workflow_base import WorkflowRequest
from comfyops.storycore.advanced_workflow_config import AdvancedWorkflowConfig
from comfyops.storycore.advanced_workflow_manager import AdvancedWorkflowManager
from comfyops.storycore.comfyui_config import ComfyUIConfig
from comfyops.storycore.routing import RoutingStrategy
from comfyops.testing.fakes import FakeBackend
from tests.unit.storycore.flows import Failing, Sampling


def request(**more) -> WorkflowRequest:
    parameters = {"prompt": "Un coucher de soleil", **more.pop("parameters", {})}
    return WorkflowRequest(workflow_type="video", capabilities=["TEXT_TO_VIDEO"], parameters=parameters, **more)


async def manager_on(
    url_or_backend, folder: Path, *workflows, settings: AdvancedWorkflowConfig | None = None
) -> AdvancedWorkflowManager:
    """A manager with these workflows for videos from text, and no other."""
    where = {"settings": config.Settings(server=url_or_backend)} if isinstance(url_or_backend, str) else {}
    if not where:
        where = {"backend": url_or_backend}
    manager = AdvancedWorkflowManager(
        config=replace(settings or AdvancedWorkflowConfig(), enable_hunyuan=False, enable_wan=False),
        output_folder=folder / "out",
        analytics_path=folder / "runs.jsonl",
        **where,
    )
    await manager.initialize()
    for workflow in workflows or (Sampling,):
        manager.registry.register_workflow("video", workflow.__name__.lower(), workflow)
    return manager


async def until(condition, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it is asked of a server
            await asyncio.sleep(0.01)


@pytest.fixture
async def slow():
    """A server on which a run of a hundred steps takes five seconds."""
    async with Simulator(SimulatorSettings(port=0, seconds_per_step=0.05)) as simulator:
        yield simulator


async def test_a_request_runs_on_the_server_and_says_what_made_it(tmp_path):
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        manager = await manager_on(simulator.url, tmp_path)
        result = await manager.execute_workflow(request())
        assert result.success, result.error_message
        assert Path(result.output_path).is_file() and result.metadata["engine"] == "test"
        assert result.metadata["workflow"] == "video/sampling" and "BALANCED" in result.metadata["routing"]["reasoning"]
        assert uuid.UUID(result.metadata["execution_id"]).version == 4
        assert result.execution_time > 0
        assert manager.get_performance_analytics()["success_rate"] == 1.0
        assert (await manager.health_check())["status"] == "healthy"


async def test_the_server_may_come_from_a_comfyui_config(tmp_path):
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        port = int(simulator.url.rsplit(":", 1)[1])
        manager = AdvancedWorkflowManager(
            comfyui_config=ComfyUIConfig(tmp_path, server_port=port), analytics_path=tmp_path / "runs.jsonl"
        )
        await manager.initialize()
        assert (await manager.health_check())["server"]["reachable"]


async def test_many_at_once_have_ids_of_their_own_and_load_models_once(tmp_path):
    class Counted(Sampling):
        loads = 0

    async with Simulator(SimulatorSettings(port=0)) as simulator:
        manager = await manager_on(simulator.url, tmp_path, Counted)
        wanted = [request(parameters={"seed": seed}) for seed in range(12)]
        results = await asyncio.gather(*(manager.execute_workflow(item) for item in wanted))
        assert all(item.success for item in results)
        assert len({item.metadata["execution_id"] for item in results}) == 12
        assert len({item.output_path for item in results}) == 12
        assert Counted.loads == 1
        assert manager.get_performance_analytics()["total_executions"] == 12
        assert manager.get_manager_status()["active_executions"] == []


async def test_at_most_as_many_are_at_the_server_as_allowed(slow, tmp_path):
    for settings, most in (
        (AdvancedWorkflowConfig(), 1),
        (AdvancedWorkflowConfig(parallel_execution=True, num_workers=3), 3),
    ):
        manager = await manager_on(slow.url, tmp_path, settings=settings)
        seen = []
        async with ComfyUI(slow.url) as server:
            wanted = [request(parameters={"seed": seed + most * 100}) for seed in range(5)]
            runs = asyncio.gather(*(manager.execute_workflow(item) for item in wanted))
            while not runs.done():
                seen.append(len(await server.queue()))
                await asyncio.sleep(0.01)
        assert all(item.success for item in await runs)
        assert max(seen) <= most


async def test_cancelling_stops_the_run_on_the_server(slow, tmp_path):
    manager = await manager_on(slow.url, tmp_path)
    execution_id = str(uuid.uuid4())
    running = asyncio.Event()

    def told(event) -> None:
        if isinstance(event, Started):
            running.set()

    task = asyncio.create_task(
        manager.execute_workflow(request(parameters={"steps": 1000}), execution_id=execution_id, on_event=told)
    )
    await asyncio.wait_for(running.wait(), 20)
    assert manager.get_manager_status()["active_executions"] == [execution_id]
    assert await manager.cancel_execution(execution_id) is True
    result = await task
    assert not result.success and "cancelled" in result.error_message and result.metadata["code"] == "cancelled"
    async with ComfyUI(slow.url) as server:
        assert await server.queue() == ()
        assert (await server.result(execution_id)).outcome is Outcome.INTERRUPTED
    report = manager.get_performance_analytics()
    assert (report["total_executions"], report["cancelled_executions"]) == (0, 1)
    assert await manager.cancel_execution(execution_id) is False
    assert await manager.cancel_execution("nothing") is False


async def test_one_that_waits_for_its_turn_can_be_cancelled(slow, tmp_path):
    manager = await manager_on(slow.url, tmp_path)
    first = asyncio.create_task(manager.execute_workflow(request(parameters={"steps": 1000})))
    waiting_id = str(uuid.uuid4())
    second = asyncio.create_task(manager.execute_workflow(request(), execution_id=waiting_id))

    async def waits() -> bool:
        return manager.get_manager_status()["waiting_executions"] == 1

    await until(waits)
    assert await manager.cancel_execution(waiting_id)
    assert not (await second).success
    await manager.cleanup()
    assert (await first).metadata["code"] == "cancelled"


async def test_a_cancelled_caller_stays_cancelled_and_the_run_ends(slow, tmp_path):
    manager = await manager_on(slow.url, tmp_path)
    task = asyncio.create_task(manager.execute_workflow(request(parameters={"steps": 1000})))
    async with ComfyUI(slow.url) as server:

        async def queued() -> bool:
            return bool(await server.queue())

        await until(queued)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await server.queue() == ()
    assert manager.get_performance_analytics()["cancelled_executions"] == 1


async def test_max_inference_time_is_enforced_on_the_server_too(slow, tmp_path):
    manager = await manager_on(slow.url, tmp_path)
    result = await manager.execute_workflow(request(parameters={"steps": 1000}, max_inference_time=0.5))
    assert not result.success and "0.5 s" in result.error_message and result.metadata["code"] == "timeout"
    assert 0.4 < result.execution_time < 10
    async with ComfyUI(slow.url) as server:
        assert await server.queue() == ()
    assert manager.get_performance_analytics()["failed_executions"] == 1


async def test_a_high_priority_goes_before_what_waits(slow, tmp_path):
    manager = await manager_on(slow.url, tmp_path)
    order = []

    async def run(name: str, priority: int) -> None:
        wanted = request(parameters={"seed": len(name) + priority, "steps": 8}, priority=priority)
        assert (await manager.execute_workflow(wanted)).success
        order.append(name)

    tasks = [asyncio.create_task(run("first", 5))]
    async with ComfyUI(slow.url) as server:

        async def queued() -> bool:
            return bool(await server.queue())

        await until(queued)
    for name, priority in (("low", 1), ("usual", 5), ("high", 8)):
        tasks.append(asyncio.create_task(run(name, priority)))
    await asyncio.gather(*tasks)
    assert order == ["first", "high", "usual", "low"]


async def test_nine_and_ten_go_to_the_front_of_the_servers_queue(tmp_path):
    numbers = {}
    for priority in (5, 8, 9, 10):
        backend = FakeBackend()
        manager = await manager_on(backend, tmp_path)
        told = []
        for seed in (1, 2):
            await manager.execute_workflow(request(parameters={"seed": seed}, priority=priority), on_event=told.append)
        numbers[priority] = [event.number for event in told if isinstance(event, Queued)]
    assert numbers[5] == numbers[8] == [0, 1]
    assert numbers[9] == numbers[10] == [0, -1]


async def test_a_failure_is_a_result_with_its_reason(tmp_path):
    manager = await manager_on(FakeBackend(fail_classes=("KSampler",)), tmp_path)
    result = await manager.execute_workflow(request())
    assert not result.success and "KSampler" in result.error_message and result.metadata["code"] == "run_failed"
    report = manager.get_performance_analytics()
    assert (report["total_executions"], report["failed_executions"], report["success_rate"]) == (1, 1, 0.0)


async def test_code_of_others_that_raises_is_a_failure_too(tmp_path):
    class Buggy(Sampling):
        async def run(self, request, job):
            return 1 / 0

    manager = await manager_on(FakeBackend(), tmp_path, Buggy)
    result = await manager.execute_workflow(request())
    assert not result.success and "ZeroDivisionError" in result.error_message
    assert not manager.registry.instance("video/buggy").is_busy


async def test_nothing_smaller_is_made_unless_asked(tmp_path):
    manager = await manager_on(FakeBackend(), tmp_path, Failing)
    result = await manager.execute_workflow(request())
    assert not result.success and "out of memory" in result.error_message and len(result.metadata["attempts"]) == 1


@pytest.mark.parametrize("most", [61, 50])
async def test_a_resilient_request_gets_less_and_is_told_so(tmp_path, most):
    class Weak(Failing):
        pass

    Weak.most = most
    manager = await manager_on(FakeBackend(), tmp_path, Weak)
    result = await manager.execute_workflow(request(resilient=True))
    assert result.success
    if most == 61:
        assert result.metadata["degraded"] == {"how": "fewer frames", "parameters": {"num_frames": 61}}
        assert [item["attempt"] for item in result.metadata["attempts"]] == ["as asked"]
    else:
        assert result.metadata["degraded"]["how"] == "smaller"
        assert result.metadata["num_frames"] == 31
        assert [item["attempt"] for item in result.metadata["attempts"]] == ["as asked", "fewer frames", "fewer steps"]


async def test_a_resilient_request_goes_on_to_the_next_workflow(tmp_path):
    class Hopeless(Failing):
        most = 0

    manager = await manager_on(FakeBackend(), tmp_path, Hopeless, Sampling)
    result = await manager.execute_workflow(request(resilient=True), RoutingStrategy.BEST_QUALITY)
    assert result.success and result.metadata["workflow"] == "video/sampling"
    assert {item["workflow"] for item in result.metadata["attempts"]} == {"video/hopeless"}
    report = manager.get_performance_analytics()
    assert report["workflow_performance"]["video/sampling"]["successes"] == 1


async def test_a_run_that_the_server_forgot_is_repeated(tmp_path):
    class Forgotten(Sampling):
        times = 0

        async def run(self, request, job):
            type(self).times += 1
            if self.times < 3:
                raise RunLostError("The server no longer knows the run.")
            return await super().run(request, job)

    manager = await manager_on(FakeBackend(), tmp_path, Forgotten)
    result = await manager.execute_workflow(request())
    assert result.success and [item["attempt"] for item in result.metadata["attempts"]] == ["repeated", "repeated"]
    Forgotten.times = -10
    assert not (await manager.execute_workflow(request())).success


async def test_a_server_that_is_away_is_a_result(tmp_path):
    manager = await manager_on("http://127.0.0.1:9", tmp_path)
    result = await manager.execute_workflow(request())
    assert not result.success and "video/sampling" in result.error_message
    health = await manager.health_check()
    assert health["status"] == "degraded" and not health["server"]["reachable"]


async def test_figures_of_earlier_processes_count(tmp_path):
    first = await manager_on(FakeBackend(), tmp_path)
    await first.execute_workflow(request())
    second = await manager_on(FakeBackend(), tmp_path)
    assert second.get_performance_analytics()["total_executions"] == 1
    decision = await second.router.route_request(request())
    assert "measured" in decision.reasoning and decision.confidence > 0.5


async def test_misuse_is_told(tmp_path):
    manager = AdvancedWorkflowManager(backend=FakeBackend(), analytics_path=tmp_path / "runs.jsonl")
    with pytest.raises(UsageError, match="not initialized"):
        await manager.execute_workflow(request())
    await manager.initialize()
    with pytest.raises(UsageError):
        await manager.execute_workflow(request(), execution_id="7")
    assert (
        await manager.execute_workflow(WorkflowRequest("x", "image", capabilities=["IMAGE_TO_3D"]))
    ).success is False


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_requests_and_cancellations_leaves_nothing_behind(tmp_path, seed):
    chance = random.Random(seed)
    settings = SimulatorSettings(port=0, seconds_per_step=0.005)
    async with Simulator(settings) as simulator, ComfyUI(simulator.url) as server:
        manager = await manager_on(simulator.url, tmp_path)
        ids = [str(uuid.uuid4()) for _ in range(24)]

        async def one(execution_id: str):
            parameters = {"seed": chance.randrange(10**6), "steps": chance.choice([2, 60])}
            limit = chance.choice([None, None, 0.2])
            wanted = request(parameters=parameters, priority=chance.randint(1, 10), max_inference_time=limit)
            return await manager.execute_workflow(wanted, execution_id=execution_id)

        tasks = [asyncio.create_task(one(execution_id)) for execution_id in ids]
        for at in chance.sample(range(24), 10):
            await asyncio.sleep(chance.random() / 20)
            if at % 2:
                tasks[at].cancel()
            else:
                await manager.cancel_execution(ids[at])
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        codes = {item.metadata.get("code") for item in ended if not isinstance(item, asyncio.CancelledError)}
        assert codes <= {None, "cancelled", "timeout"}
        status = manager.get_manager_status()
        assert (status["active_executions"], status["waiting_executions"], await server.queue()) == ([], 0, ())
        assert (await manager.execute_workflow(request(parameters={"seed": 7}))).success
