"""The built-in workflows through the manager, on a simulated server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfyops import config
from comfyops.execution.frames import Frames
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.simulator.models import default_inventory
from comfyops.simulator.settings import Faults
from comfyops.storycore import HunyuanVideoWorkflow, LegacyVideoWorkflow, WanVideoWorkflow
from comfyops.storycore.advanced_workflow_base import WorkflowRequest
from comfyops.storycore.advanced_workflow_manager import AdvancedWorkflowManager
from comfyops.storycore.routing import RoutingStrategy

SMALL = {"width": 96, "height": 64, "num_frames": 6, "steps": 2}


async def manager_on(url: str, folder: Path) -> AdvancedWorkflowManager:
    manager = AdvancedWorkflowManager(
        settings=config.Settings(server=url), output_folder=folder / "out", analytics_path=folder / "runs.jsonl"
    )
    await manager.initialize()
    return manager


@pytest.fixture
async def manager(tmp_path):
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        yield await manager_on(simulator.url, tmp_path)


def wish(*capabilities: str, **more) -> WorkflowRequest:
    parameters = {"prompt": "a lighthouse", **SMALL, **more.pop("parameters", {})}
    return WorkflowRequest(workflow_type="video", capabilities=capabilities, parameters=parameters, **more)


def test_workflows_are_built_in_with_their_documented_capabilities(tmp_path):
    manager = AdvancedWorkflowManager(analytics_path=tmp_path / "runs.jsonl")
    asyncio.run(manager.initialize())
    found = manager.get_workflow_capabilities()
    assert set(found["video/hunyuan_video"]) == {"text_to_video", "image_to_video", "super_resolution"}
    assert {"text_to_video", "video_inpainting", "alpha_video"} <= set(found["video/wan_video"])
    assert found["video/legacy_video"] == ["video_generation"]
    assert manager.get_workflows_by_capability("INPAINTING") == ["video/wan_video", "image/still_image"]
    assert asyncio.run(manager.initialize()) is True  # a second time changes nothing
    assert manager.get_available_workflows() == {
        "video": ["hunyuan_video", "wan_video", "legacy_video"],
        "image": ["still_image"],
    }


async def test_frames_come_lazily_and_can_be_saved(manager, tmp_path):
    result = await manager.execute_workflow(wish("TEXT_TO_VIDEO"))
    assert isinstance(result.frames, Frames) and len(result.frames) == 6
    result.frames[5].save(tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as saved:
        assert saved.size == (96, 64)
    assert result.metadata["num_frames"] == 6 and isinstance(result.metadata["seed"], int)
    assert 0 < result.quality_metrics["quality_score"] <= 1


async def test_a_picture_a_mask_and_alpha_from_the_request(manager, tmp_path):
    Image.new("RGB", (96, 64), "navy").save(tmp_path / "start.png")
    moved = await manager.execute_workflow(wish("IMAGE_TO_VIDEO", input_image=str(tmp_path / "start.png")))
    assert moved.success, moved.error_message
    frames = [Image.new("RGB", (96, 64), "gray")] * 5
    mask = Image.new("L", (96, 64), 255)
    changed = await manager.execute_workflow(
        wish("INPAINTING", mask=mask, parameters={"video": frames, "num_frames": 5, "mask_blur": 2})
    )
    assert changed.success and len(changed.frames) == 5, changed.error_message
    clear = await manager.execute_workflow(wish("ALPHA_VIDEO", parameters={"alpha_mode": "threshold"}))
    assert len(clear.alpha_masks) == len(clear.frames) == 6
    assert clear.metadata["recipe"] == "wan-alpha"


async def test_the_legacy_engine_needs_no_server_and_says_what_it_is(tmp_path):
    manager = await manager_on("http://127.0.0.1:9", tmp_path)
    keys = [Image.new("RGB", (64, 64), color) for color in ("navy", "teal")]
    result = await manager.execute_workflow(wish("VIDEO_GENERATION", parameters={"keyframes": keys, "num_frames": 9}))
    assert result.success and result.metadata["engine"] == "local" and len(result.frames) == 9, result.error_message
    again = await manager.execute_workflow(wish("VIDEO_GENERATION", parameters={"keyframes": keys, "num_frames": 9}))
    assert [frame.tobytes() for frame in again.frames] == [frame.tobytes() for frame in result.frames]
    never = await manager.execute_workflow(wish("TEXT_TO_VIDEO", resilient=True))
    assert not never.success and "127.0.0.1:9" in never.error_message  # it never stands in for a model


async def test_a_workflow_alone_runs_on_the_configured_server(tmp_path, monkeypatch):
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        monkeypatch.setenv("COMFYUI_URL", simulator.url)
        monkeypatch.setenv("COMFYOPS_OUTPUT", str(tmp_path / "out"))
        result = await HunyuanVideoWorkflow().execute(wish("TEXT_TO_VIDEO"))
    assert result.success and Path(result.output_path).is_relative_to(tmp_path / "out")
    local = await LegacyVideoWorkflow().execute(wish("VIDEO_GENERATION"))
    assert local.success and local.metadata["engine"] == "local"
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:9")
    assert (await WanVideoWorkflow().execute(wish("TEXT_TO_VIDEO"))).success is False


async def test_what_the_server_lacks_decides_and_is_told(tmp_path):
    models = {
        folder: tuple(name for name in files if "wan2.2" not in name)
        for folder, files in default_inventory().folders.items()
    }
    async with Simulator(SimulatorSettings(port=0, models=models)) as simulator:
        manager = await manager_on(simulator.url, tmp_path)
        for strategy in RoutingStrategy:
            result = await manager.execute_workflow(wish("TEXT_TO_VIDEO"), strategy)
            assert result.success and result.metadata["workflow"] == "video/hunyuan_video"
        refused = result.metadata["routing"]["refused"]
        assert "wan2.2_" in refused["video/wan_video"]


async def test_round_robin_takes_turns_and_measured_times_decide(manager):
    used = [
        (await manager.execute_workflow(wish("TEXT_TO_VIDEO"), RoutingStrategy.ROUND_ROBIN)).metadata["workflow"]
        for _ in range(4)
    ]
    assert used == ["video/hunyuan_video", "video/wan_video"] * 2
    profiles = manager.router.get_performance_profiles()
    faster = min(("video/hunyuan_video", "video/wan_video"), key=lambda key: profiles[key].average_execution_time)
    decided = await manager.execute_workflow(wish("TEXT_TO_VIDEO"), RoutingStrategy.FASTEST)
    assert decided.metadata["workflow"] == faster, decided.metadata["routing"]
    assert "(measured)" in decided.metadata["routing"]["reasoning"]


async def test_parameters_that_mean_nothing_are_told(manager):
    result = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters={"cfgscale": 3, "sampler": "euler"}))
    assert result.success
    told = result.metadata["warnings"]
    assert any("cfgscale is not used; did you mean cfg_scale" in item for item in told)
    assert any("sampler is not used" in item for item in told)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"width": "wide"}, "width is a whole number"),
        ({"num_frames": 2.5}, "num_frames is a whole number"),
        ({"width": True}, "width is a whole number"),
        ({"width": -5}, "-5"),
        ({"num_frames": 10**9}, "frames"),
        ({"prompt": ""}, "no prompt"),
        ({"recipe": "no-such"}, "no-such"),
        ({"images": [7]}, "not int"),
        ({"alpha_mode": "glass"}, "alpha"),
        ({"alpha_threshold": "high"}, "alpha_threshold"),
        ({"mask_blur": -1}, "zero or more"),
    ],
)
async def test_wrong_parameters_are_a_result_with_a_sentence(manager, parameters, message):
    result = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters=parameters))
    assert not result.success and message in result.error_message


async def test_quality_modes_take_more_or_fewer_steps(manager):
    steps = {}
    for mode in ("fast", "quality"):
        request = WorkflowRequest(
            "x", capabilities=["TEXT_TO_VIDEO"], quality_mode=mode, parameters={**SMALL, "steps": None}
        )
        result = await manager.execute_workflow(request)
        assert result.success, result.error_message
        steps[mode] = result.metadata["recipe"]
    assert steps["fast"].endswith("lightning") and not steps["quality"].endswith("lightning")


async def test_a_server_that_runs_out_of_memory_gets_a_smaller_wish_only_when_asked(tmp_path):
    async with Simulator(SimulatorSettings(port=0, faults=Faults(oom_class="KSamplerAdvanced"))) as simulator:
        manager = await manager_on(simulator.url, tmp_path)
        resilient = await manager.execute_workflow(wish("TEXT_TO_VIDEO", resilient=True))
        assert resilient.success and resilient.metadata["workflow"] == "video/hunyuan_video"
        assert {item["workflow"] for item in resilient.metadata["attempts"]} == {"video/wan_video"}
        plain = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters={"recipe": "wan22-text-to-video"}))
        assert not plain.success and len(plain.metadata["attempts"]) == 1
        assert "OutOfMemory" in plain.error_message or "memory" in plain.error_message


async def test_a_named_recipe_goes_to_the_workflow_that_has_it(manager):
    for recipe, key in (("wan22-text-to-video", "video/wan_video"), ("hunyuan15-text-to-video", "video/hunyuan_video")):
        result = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters={"recipe": recipe}))
        assert (result.metadata["workflow"], result.metadata["recipe"]) == (key, recipe), result.error_message


async def test_arrays_are_pictures_and_masks_anywhere(manager):
    frames = np.full((5, 64, 96, 3), 90, np.uint8)
    request = wish("INPAINTING", mask=np.ones((64, 96)), parameters={"video_frames": frames, "num_frames": 5})
    changed = await manager.execute_workflow(request)
    assert changed.success and len(changed.frames) == 5, changed.error_message
    plain = WorkflowRequest("x", input_image=frames[0], parameters=SMALL, output_format="gif")
    moved = await manager.execute_workflow(plain)
    assert moved.success and "image-to-video" in moved.metadata["recipe"], moved.error_message
    assert any("output_format" in remark for remark in moved.metadata["warnings"])


async def test_a_request_may_name_its_workflow(manager):
    for key in ("video/hunyuan_video", "video/wan_video"):
        result = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters={"workflow": key}))
        assert result.success and result.metadata["workflow"] == key
        assert not any("not used" in remark for remark in result.metadata["warnings"])
    gone = await manager.execute_workflow(wish("TEXT_TO_VIDEO", parameters={"workflow": "video/none"}))
    assert not gone.success and "video/none" in gone.error_message
    unable = await manager.execute_workflow(wish("ALPHA_VIDEO", parameters={"workflow": "video/hunyuan_video"}))
    assert not unable.success and "ALPHA_VIDEO" in unable.error_message


async def test_pictures_are_made_too(manager):
    request = WorkflowRequest("a boat", "image", capabilities=["TEXT_TO_IMAGE"], output_resolution=(128, 64))
    result = await manager.execute_workflow(request)
    assert result.success and result.metadata["workflow"] == "image/still_image", result.error_message
    assert len(result.frames) == 1 and result.frames[0].size == (128, 64)
    larger = WorkflowRequest("", "image", capabilities=["SUPER_RESOLUTION"], input_image=result.frames[0])
    upscaled = await manager.execute_workflow(larger)
    assert upscaled.success and upscaled.frames[0].width > 128, upscaled.error_message
