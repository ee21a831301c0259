"""The client against a simulated server that fails on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Event, Finished, NodeFinished, Outcome, OutputKind, Preview, Progress
from comfyops.backends.watching import Pace
from comfyops.errors import RunLostError, StalledError, UnreachableError
from comfyops.simulator import Faults, Simulator, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows.graph import Graph, GraphBuilder

SETTINGS = SimulatorSettings(port=0, seconds_per_node=0.03)
PACE = Pace(lively=0.5, blind=0.05, blind_most=0.2, silence=0.5, away=1.0)


@asynccontextmanager
async def simulated(settings: SimulatorSettings = SETTINGS, **faults: object) -> AsyncIterator[ComfyUI]:
    settings = replace(settings, faults=Faults(**faults))  # type: ignore[arg-type]
    async with Simulator(settings) as simulator, ComfyUI(simulator.url, pace=PACE, stall_timeout=1.5) as client:
        yield client


async def events_of(client: ComfyUI, graph: Graph) -> list[Event]:
    async with asyncio.timeout(30):
        return [event async for event in client.run(graph)]


async def end_of(client: ComfyUI, graph: Graph) -> Finished:
    end = (await events_of(client, graph))[-1]
    assert isinstance(end, Finished)
    return end


async def sampled(client: ComfyUI, steps: int = 4) -> Graph:
    """A picture of the first checkpoint that the server has."""
    choices = (await client.node_types())["CheckpointLoaderSimple"].input("ckpt_name")
    assert choices is not None and choices.choices
    build = GraphBuilder()
    model = build.add("CheckpointLoaderSimple", ckpt_name=choices.choices[0])
    words = build.add("CLIPTextEncode", text="a red fox", clip=model[1])
    latent = build.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    steered = {"model": model[0], "positive": words[0], "negative": words[0], "latent_image": latent[0]}
    numbers = {"seed": graphs.any_color(), "steps": steps, "cfg": 7.0, "denoise": 1.0}
    sampler = build.add("KSampler", sampler_name="euler", scheduler="normal", **numbers, **steered)
    picture = build.add("VAEDecode", samples=sampler[0], vae=model[2])
    build.add("SaveImage", filename_prefix="comfyops-test", images=picture[0])
    return build.build()


async def test_sockets_that_drop_all_the_time_do_not_lose_the_run() -> None:
    async with simulated(drop_sockets_after=4) as client:
        for _ in range(3):
            assert (await end_of(client, graphs.slow(5, size=16))).outcome is Outcome.SUCCESS


async def test_a_server_that_dies_in_mid_run_is_told_as_away() -> None:
    async with simulated(die_mid_run=True) as client:
        with pytest.raises(UnreachableError):
            await end_of(client, graphs.slow(20, size=16))


async def test_a_run_that_a_restart_forgot_is_lost_and_the_next_one_runs() -> None:
    async with simulated(forget_after_runs=2) as client:
        ends = []
        lost = 0
        for _ in range(4):
            try:
                ends.append(await end_of(client, graphs.picture()))
            except RunLostError:
                lost += 1
        assert ends and (lost or await _is_lost(client, ends[0].run_id))
        assert (await end_of(client, graphs.picture())).outcome is Outcome.SUCCESS


async def _is_lost(client: ComfyUI, run_id: str) -> bool:
    try:
        await client.result(run_id)
    except RunLostError:
        return True
    return False


async def test_a_dead_worker_is_stalled_though_its_port_answers() -> None:
    async with simulated(dead_worker=True) as client:
        with pytest.raises(StalledError):
            await end_of(client, graphs.picture())
        assert (await client.system_stats()).version


@pytest.mark.parametrize("fault", ["fail_class", "oom_class"])
async def test_a_failing_node_leaves_the_outputs_of_those_that_finished(fault: str) -> None:
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, height=16, batch_size=1, color=5)
    build.add("SaveImage", filename_prefix="good", images=image[0])
    saved = build.add("ImageBlur", image=image[0], blur_radius=3, sigma=1.0)
    build.add("SaveImage", filename_prefix="bad", images=saved[0])
    async with simulated(**{fault: "ImageBlur"}) as client:
        events = await events_of(client, build.build())
        end = events[-1]
        assert isinstance(end, Finished) and end.outcome is Outcome.FAILED
        assert end.failure is not None and (end.failure.node, end.failure.class_type) == ("3", "ImageBlur")
        told = [output for event in events if isinstance(event, NodeFinished) for output in event.outputs]
        assert list(end.outputs) == told


async def test_steps_and_previews_of_a_sampler_are_delivered() -> None:
    async with simulated(replace(SETTINGS, previews=True, seconds_per_step=0.02)) as client:
        events = await events_of(client, await sampled(client))
        assert [event.value for event in events if isinstance(event, Progress) and event.maximum == 4] == [1, 2, 3, 4]
        previews = [event for event in events if isinstance(event, Preview)]
        assert previews and all(event.data.startswith(b"\xff\xd8") and event.node == "4" for event in previews)
        end = events[-1]
        assert isinstance(end, Finished) and end.outputs[0].kind is OutputKind.IMAGE


async def test_a_client_asks_for_previews_by_itself_with_a_preview_method() -> None:
    settings = replace(SETTINGS, seconds_per_step=0.02)
    async with Simulator(settings) as simulator, ComfyUI(simulator.url, preview_method="latent2rgb") as client:
        events = await events_of(client, await sampled(client))
        assert any(isinstance(event, Preview) for event in events)


async def test_a_second_client_follows_the_first_ones_run_by_asking() -> None:
    async with simulated() as first, ComfyUI(first.url, pace=PACE) as second:
        queued = await first.submit(graphs.slow(5, size=16))
        events = [event async for event in second.watch(queued.run_id)]
        assert isinstance(events[-1], Finished) and not any(isinstance(event, Preview) for event in events)


async def test_the_api_prefix_serves_every_route_and_the_websocket() -> None:
    async with Simulator(SETTINGS) as simulator, ComfyUI(simulator.url, api_prefix="/api") as client:
        events = await events_of(client, graphs.picture())
        assert any(isinstance(event, NodeFinished) for event in events)
        assert isinstance(events[-1], Finished) and await client.fetch(events[-1].outputs[0])
        assert len(await client.jobs(5)) == 1
        queued = await client.submit(graphs.slow(size=16))
        assert await client.cancel(queued.run_id)
