"""HunyuanVideo's documented names on a simulated server."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.storycore.hunyuan_video_integration import (
    FrameSequence,
    HunyuanVideoConfig,
    HunyuanVideoIntegration,
    HunyuanWorkflowType,
    VideoGenerationRequest,
    generate_image_to_video,
    generate_text_to_video,
)

SMALL = {"width": 96, "height": 64, "num_frames": 6, "steps": 2}


@pytest.fixture
async def server(tmp_path, monkeypatch):
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        monkeypatch.setenv("COMFYUI_URL", simulator.url)
        monkeypatch.setenv("COMFYOPS_OUTPUT", str(tmp_path / "out"))
        yield simulator


async def test_text_picture_and_super_resolution_are_three_real_workflows(server):
    hunyuan = HunyuanVideoIntegration()
    text = await hunyuan.generate_video(VideoGenerationRequest(HunyuanWorkflowType.TEXT_TO_VIDEO, "a boat", **SMALL))
    assert text.success and len(text.frames) == text.num_frames == 6, text.error_message
    assert Path(text.video_path).is_file() and text.metadata["recipe"] == "hunyuan15-text-to-video"
    picture = VideoGenerationRequest("image_to_video", "a boat", conditioning_image=text.frames[0], **SMALL)
    moved = await hunyuan.generate_video(picture)
    assert moved.success and moved.metadata["recipe"] == "hunyuan15-image-to-video", moved.error_message
    larger = await hunyuan.generate_video(
        VideoGenerationRequest("SUPER_RESOLUTION", "a boat", conditioning_image=text.video_path, width=192, height=128)
    )
    assert larger.success and larger.metadata["recipe"] == "hunyuan15-super-resolution", larger.error_message
    assert larger.resolution == (192, 128) and larger.num_frames == 6
    stats = hunyuan.get_stats()
    assert (stats["t2v_count"], stats["i2v_count"], stats["sr_count"], stats["total_frames"]) == (1, 1, 1, 18)
    assert all(made.metadata["engine"] == "simulator" for made in (text, moved, larger))


async def test_different_prompts_make_different_videos_and_are_measured(server):
    hunyuan = HunyuanVideoIntegration()
    made = [
        await hunyuan.generate_video(VideoGenerationRequest("text_to_video", prompt, seed=1, **SMALL))
        for prompt in ("a boat", "a mountain")
    ]
    assert made[0].frames[0].tobytes() != made[1].frames[0].tobytes()
    assert 0 < made[0].quality_score <= 1 and 0 < made[0].sharpness_score <= 1


async def test_upscaling_is_asked_of_the_model(server):
    request = VideoGenerationRequest("text_to_video", "a boat", enable_upscaling=True, **SMALL)
    made = await HunyuanVideoIntegration().generate_video(request)
    assert made.metadata["recipe"] == "hunyuan15-text-to-video-upscaled" and made.resolution == (144, 96)


async def test_the_same_request_is_answered_from_what_was_made(server):
    hunyuan = HunyuanVideoIntegration()
    request = VideoGenerationRequest("text_to_video", "a boat", seed=5, **SMALL)
    first = await hunyuan.generate_video(request)
    assert await hunyuan.generate_video(request) is first and hunyuan.get_stats()["cache_hits"] == 1
    Path(first.video_path).unlink()
    assert await hunyuan.generate_video(request) is not first
    hunyuan.clear_cache()
    assert hunyuan.get_stats()["cache_size"] == 0
    drawn = VideoGenerationRequest("text_to_video", "a boat", **SMALL)
    assert await hunyuan.generate_video(drawn) is not await hunyuan.generate_video(drawn)


async def test_the_short_doors(server):
    small = HunyuanVideoConfig(width=64, height=64, num_frames=2, steps=2)
    assert (await generate_text_to_video("a boat", small)).num_frames == 2
    made = await generate_image_to_video("a boat", Image.new("RGB", (64, 64), "navy"), small, num_frames=3)
    assert made.success and made.num_frames == 3


async def test_failures_are_results(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:9")
    hunyuan = HunyuanVideoIntegration()
    away = await hunyuan.generate_video(VideoGenerationRequest("text_to_video", "a boat"))
    assert not away.success and "127.0.0.1:9" in away.error_message
    odd = await hunyuan.generate_video(VideoGenerationRequest("text_to_smell", "a boat"))
    assert not odd.success and "text_to_smell" in odd.error_message
    empty = await hunyuan.generate_video(VideoGenerationRequest("text_to_video", ""))
    assert not empty.success and "prompt" in empty.error_message
    none = await hunyuan.generate_video(VideoGenerationRequest("super_resolution", "x"))
    assert not none.success


async def test_frames_are_saved(tmp_path):
    frames = FrameSequence([Image.new("RGB", (4, 4), "navy")] * 3, fps=2)
    assert len(frames) == 3 and frames.get_duration() == 1.5
    paths = frames.save_frames(tmp_path / "new", "shot")
    assert [Path(path).name for path in paths] == ["shot_0001.png", "shot_0002.png", "shot_0003.png"]
    assert all(Path(path).is_file() for path in paths)


def test_the_documented_defaults():
    request = VideoGenerationRequest(HunyuanWorkflowType.TEXT_TO_VIDEO, "x")
    assert (request.seed, request.width, request.height, request.num_frames, request.fps) == (-1, 720, 480, 121, 24)
    assert (request.steps, request.cfg_scale, request.sampler, request.scheduler) == (
        50,
        7.0,
        "euler_ancestral",
        "normal",
    )
    assert HunyuanVideoConfig().enable_upscaling and not request.enable_upscaling
