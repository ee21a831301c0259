"""Wan's documented names on a simulated server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfyops.errors import (
    ComfyOpsError,
    RunInterruptedError,
    UnreachableError,
    WaitTimeoutError,
)
from comfyops.execution.frames import opened
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.simulator.models import default_inventory
from comfyops.storycore.advanced_workflow_base import WorkflowExecutionError, WorkflowValidationError
from comfyops.storycore.wan_video_integration import (
    AlphaChannelMode,
    CompositeLayer,
    DualImageGuidance,
    InpaintingMask,
    InpaintingStage,
    WanVideoConfig,
    WanVideoIntegration,
)

SIZE = (96, 64)
FRAMES = [Image.new("RGB", SIZE, (200, 20 * number, 40)) for number in range(5)]


@pytest.fixture
async def server(tmp_path):
    async with Simulator(SimulatorSettings(port=0, home=tmp_path / "home")) as simulator:
        yield simulator


@pytest.fixture
def wan(server, tmp_path):
    return WanVideoIntegration(comfyui_base_url=server.url, output_folder=tmp_path / "out")


def half() -> Image.Image:
    """White on the left."""
    mask = Image.new("L", SIZE, 0)
    mask.paste(255, (0, 0, 48, 64))
    return mask


async def sent_masks(wan: WanVideoIntegration, home: Path, mask: InpaintingMask) -> list[Image.Image]:
    """The masks as they came to the server."""
    before = set(home.rglob("masks-*.mp4"))
    await wan.generate_video_with_inpainting("x", FRAMES, mask, use_multi_stage=False)
    (path,) = set(home.rglob("masks-*.mp4")) - before
    return [frame.convert("L") for frame in opened([path])]


def row(mask: Image.Image) -> list[int]:
    return list(mask.crop((0, 32, SIZE[0], 33)).tobytes())


async def test_the_mask_is_sent_for_every_frame_as_it_is(wan, tmp_path):
    masks = await sent_masks(wan, tmp_path / "home", InpaintingMask(half(), blur_radius=0, feather_amount=0))
    assert len(masks) == 5 and masks[0].size == SIZE
    assert row(masks[4])[40] > 240 and row(masks[4])[56] < 16


async def test_blur_feather_and_invert_are_applied(wan, tmp_path):
    home = tmp_path / "home"
    plain = row((await sent_masks(wan, home, InpaintingMask(half(), 0, 0)))[0])
    blurred = row((await sent_masks(wan, home, InpaintingMask(half(), 8, 0)))[0])
    feathered = row((await sent_masks(wan, home, InpaintingMask(half(), 0, 6)))[0])
    inverted = row((await sent_masks(wan, home, InpaintingMask(half(), 0, 0, invert=True)))[0])
    assert sum(30 < value < 225 for value in plain) <= 2 < sum(30 < value < 225 for value in blurred)
    assert plain[51] < 30 < feathered[51] and feathered[40] > 240  # reaches out, never in
    assert inverted[40] < 16 and inverted[56] > 240


async def test_a_mask_may_be_a_path_a_picture_an_array_or_one_for_each_frame(wan, tmp_path):
    half().save(tmp_path / "mask.png")
    array = np.asarray(half())
    forms = [str(tmp_path / "mask.png"), tmp_path / "mask.png", half(), array, array > 0, array / 255.0, [half()] * 5]
    results = []
    for form in forms:
        results.append(await wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(form), seed=7))
    first = [frame.tobytes() for frame in results[0]]
    assert all([frame.tobytes() for frame in result] == first for result in results[1:])


async def test_as_many_frames_of_the_same_size_as_given_and_named_after_their_engine(wan):
    odd = [Image.new("RGB", (50, 34), (9, 9, 9 * number)) for number in range(6)]
    result = await wan.generate_video_with_inpainting("x", odd, InpaintingMask(Image.new("L", (50, 34), 255)))
    assert len(result) == 6 and {frame.size for frame in result} == {(50, 34)}
    assert {frame.info["engine"] for frame in result} == {"simulator"} == {wan.last_result.metadata["engine"]}
    assert result[0].info["simulated"] is True


async def test_a_video_may_be_a_file_or_arrays(wan, tmp_path):
    mask = InpaintingMask(half())
    made = await wan.generate_video_with_inpainting("x", [np.asarray(frame) for frame in FRAMES], mask)
    again = await wan.generate_video_with_inpainting("x", wan.last_result.output_path, mask)
    assert len(made) == len(again) == 5


async def test_two_stages_or_one(wan):
    mask = InpaintingMask(half())
    await wan.generate_video_with_inpainting("x", FRAMES, mask, use_multi_stage=True)
    assert wan.last_result.metadata["recipe"] == "wan22-vace-inpainting"
    await wan.generate_video_with_inpainting("x", FRAMES, mask, use_multi_stage=False)
    assert wan.last_result.metadata["recipe"] == "wan-vace-inpainting"
    assert [stage.value for stage in InpaintingStage] == ["high_noise", "low_noise"]


async def test_one_stage_serves_where_the_server_lacks_two_and_that_is_told(tmp_path):
    models = {
        folder: tuple(name for name in files if "fun_vace" not in name)
        for folder, files in default_inventory().folders.items()
    }
    async with Simulator(SimulatorSettings(port=0, models=models)) as simulator:
        wan = WanVideoIntegration(comfyui_base_url=simulator.url, output_folder=tmp_path)
        await wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(half()))
        assert await wan.load_models()
    told = wan.last_result.metadata
    assert told["recipe"] == "wan-vace-inpainting"
    assert any("wan2.2_fun_vace_high_noise" in warning for warning in told["warnings"])


async def test_the_three_alpha_modes_differ(wan):
    masks = {}
    for mode in AlphaChannelMode:
        frames, alphas = await wan.generate_video_with_alpha("x", 96, 64, 6, mode, seed=3)
        assert (len(frames), len(alphas)) == (6, 6)
        assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (96, 64))}
        assert {(mask.mode, mask.size) for mask in alphas} == {("L", (96, 64))}
        masks[mode] = [mask.tobytes() for mask in alphas]
    assert len({tuple(found) for found in masks.values()}) == 3
    assert set(masks[AlphaChannelMode.THRESHOLD][0]) <= {0, 255}
    assert len(set(masks[AlphaChannelMode.EDGE_AWARE][0])) > 2


async def test_a_transparent_video_is_rgba(wan):
    frames = await wan.create_transparent_video("x", 64, 48, 3, "edge_aware")
    assert [(frame.mode, frame.size) for frame in frames] == [("RGBA", (64, 48))] * 3


async def test_two_pictures_guide_a_video(wan):
    guidance = DualImageGuidance(Image.new("RGB", SIZE, "white"), Image.new("RGB", SIZE, "navy"), blend_mode="multiply")
    frames = await wan.generate_with_dual_guidance("x", guidance, width=96, height=64, num_frames=5)
    assert len(frames) == 5 and wan.last_result.metadata["recipe"].startswith("wan22-image-to-video")


async def test_settings_other_than_the_default_count(server, tmp_path):
    config = WanVideoConfig(width=64, height=48, num_frames=2, steps=3, fps=12)
    wan = WanVideoIntegration(config, comfyui_base_url=server.url, output_folder=tmp_path / "out")
    frames, _ = await wan.generate_video_with_alpha("x")
    assert len(frames) == 2 and frames[0].size == (64, 48) and wan.last_result.metadata["fps"] == 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wan: wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(half(), -1)), "cannot be negative"),
        (
            lambda wan: wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask("gone.png")),
            "gone.png is not there",
        ),
        (lambda wan: wan.generate_video_with_inpainting("x", [], InpaintingMask(half())), "no frames"),
        (lambda wan: wan.generate_video_with_inpainting("x", 7, InpaintingMask(half())), "not int"),
        (lambda wan: wan.generate_video_with_inpainting("x", "gone.mp4", InpaintingMask(half())), "gone.mp4"),
        (lambda wan: wan.generate_video_with_inpainting("", FRAMES, InpaintingMask(half())), "no prompt"),
        (lambda wan: wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask([half()] * 3)), "3 masks for 5"),
        (lambda wan: wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(np.zeros(4))), "no picture"),
        (lambda wan: wan.generate_video_with_alpha("x", 64, 48, "many"), "num_frames is a whole number"),
    ],
)
async def test_what_cannot_be_is_told_in_a_sentence(wan, call, message):
    with pytest.raises(ComfyOpsError, match=message) as caught:
        await call(wan)
    assert caught.value.message.endswith(".")


async def test_a_run_that_takes_too_long_is_cancelled(tmp_path):
    async with Simulator(SimulatorSettings(port=0, seconds_per_step=1.0)) as simulator:
        wan = WanVideoIntegration(comfyui_base_url=simulator.url, timeout_seconds=0.7, output_folder=tmp_path)
        with pytest.raises(WaitTimeoutError, match=r"0\.7 s"):
            await wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(half()))


async def test_cancelling_ends_every_run(tmp_path):
    async with Simulator(SimulatorSettings(port=0, seconds_per_step=1.0)) as simulator:
        wan = WanVideoIntegration(comfyui_base_url=simulator.url, output_folder=tmp_path)
        assert wan.request_cancellation() is False
        task = asyncio.create_task(wan.generate_video_with_inpainting("x", FRAMES, InpaintingMask(half())))
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while not wan.request_cancellation():  # noqa: ASYNC110 - until it is under way
                await asyncio.sleep(0.01)
        with pytest.raises(RunInterruptedError):
            await task
    assert wan.get_stats()["failed_runs"] == 1


async def test_a_server_that_keeps_failing_is_left_alone():
    wan = WanVideoIntegration(comfyui_base_url="http://127.0.0.1:9")
    for _ in range(5):
        with pytest.raises(UnreachableError):
            await wan.generate_video_with_alpha("x", 64, 48, 2)
    with pytest.raises(WorkflowExecutionError, match="failed 5 times"):
        await wan.generate_video_with_alpha("x", 64, 48, 2)
    without = WanVideoIntegration(comfyui_base_url="http://127.0.0.1:9", enable_circuit_breaker=False)
    for _ in range(6):
        with pytest.raises(UnreachableError):
            await without.generate_video_with_alpha("x", 64, 48, 2)


def test_the_documented_defaults():
    config = WanVideoConfig()
    assert (config.width, config.height, config.num_frames, config.fps, config.steps) == (720, 480, 81, 24, 20)
    assert (config.cfg_scale, config.inpaint_strength, config.mask_blur, config.alpha_threshold) == (3.0, 0.8, 4, 0.5)
    mask = InpaintingMask("mask.png")
    assert (mask.blur_radius, mask.feather_amount, mask.invert) == (4, 2, False)
    guidance = DualImageGuidance("a.png")
    assert (guidance.reference_strength, guidance.style_strength, guidance.blend_mode) == (0.8, 0.5, "linear")
    assert WanVideoIntegration().timeout_seconds == 300.0


def test_model_info_names_the_files():
    info = WanVideoIntegration().get_model_info()
    assert "diffusion_models/wan2.1_vace_14B_fp16.safetensors" in info["wan-vace-inpainting"]
    assert len(info["wan22-vace-inpainting"]) == 4


async def test_layers_are_laid_over_one_another_and_nothing_given_is_changed():
    below = [Image.new("RGB", (4, 4), "white")] * 3
    above = Image.new("RGB", (2, 2), "navy")
    visible = Image.new("L", (2, 2), 255)
    layers = [CompositeLayer(below), CompositeLayer([above], [visible], offset_x=1, offset_y=1)]
    result = await WanVideoIntegration().composite_videos(layers)
    assert len(result) == 3
    assert result[2].getpixel((0, 0)) == (255, 255, 255, 255) and result[2].getpixel((1, 1)) == (0, 0, 128, 255)
    assert above.mode == "RGB"
    half_there = [CompositeLayer(below), CompositeLayer([above], opacity=0.5)]
    pixel = (await WanVideoIntegration().composite_videos(half_there))[0].getpixel((0, 0))
    assert pixel == (127, 127, 191, 255)


@pytest.mark.parametrize(
    ("mode", "pixel"), [("multiply", (50, 0, 0)), ("screen", (250, 200, 0)), ("normal", (100, 0, 0))]
)
async def test_blend_modes_differ(mode, pixel):
    layers = [
        CompositeLayer([Image.new("RGB", (1, 1), (128, 200, 0))]),
        CompositeLayer([Image.new("RGB", (1, 1), (100, 0, 0))], blend_mode=mode),
    ]
    found = (await WanVideoIntegration().composite_videos(layers))[0].getpixel((0, 0))
    if mode == "screen":
        assert found[0] > 170 and found[1] == 200
    else:
        assert found[:3] == pixel


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "no layer"),
        ([CompositeLayer([])], "no layer"),
        ([CompositeLayer(FRAMES, blend_mode="burn")], "blend mode 'burn'"),
        ([CompositeLayer(FRAMES, opacity=2)], "opacity"),
        ([CompositeLayer(FRAMES, [half()])], "1 alpha masks for 5 frames"),
    ],
)
async def test_layers_that_cannot_be_are_told(layers, message):
    with pytest.raises(WorkflowValidationError, match=message):
        await WanVideoIntegration().composite_videos(layers)
