"""Making what somebody asks for, on the simulator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import InputError, MissingFileError, StorageError, UnsupportedError, UsageError
from comfyops.execution import frames
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.generate import generate
from comfyops.execution.generation import Engine, GenerationRequest, GenerationResult
from comfyops.execution.masks import MaskOptions
from comfyops.simulator import Simulator
from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.capabilities import Capability
from tests.unit.execution.pictures import SIZE, clip, disc, left_half

pytest.importorskip("comfyui_workflow_templates_json")

SMALL: dict[str, Any] = {"width": 160, "height": 96, "seed": 7}


@asynccontextmanager
async def server(home: Path, **settings: Any) -> AsyncIterator[ComfyUI]:
    async with Simulator(SimulatorSettings(port=0, home=home / "server", **settings)) as sim, ComfyUI(sim.url) as found:
        yield found


async def made(
    tmp_path: Path, *capabilities: str, settings: dict[str, Any] | None = None, **more: Any
) -> GenerationResult:
    async with server(tmp_path, **(settings or {})) as backend:
        request = GenerationRequest(capabilities=capabilities, prompt="a lighthouse", **more)
        return await generate(request, backend, tmp_path / "out")


async def test_thirty_frames_asked_of_wan_are_thirty_given_in_the_file_too(tmp_path: Path) -> None:
    result = await made(tmp_path, "TEXT_TO_VIDEO", family="wan22", frames=30, **SMALL)
    assert len(result.frames) == len(list(result.frames)) == 30
    (path,) = result.outputs
    with av.open(str(path)) as source:
        decoded = sum(1 for _ in source.decode(video=0))
        assert decoded == 30 and source.streams.video[0].codec_context.width == 160
        assert "prompt" in source.metadata  # the workflow stays in the file
    assert any("33 frames; the first 30" in remark for remark in result.warnings)


async def test_sound_stays_with_a_video_that_is_cut(tmp_path: Path) -> None:
    result = await made(tmp_path, "TEXT_TO_VIDEO", family="ltx2", frames=30, fps=24.0, **SMALL)
    with av.open(str(result.outputs[0])) as source:
        assert len(source.streams.audio) == 1
        seconds = sum(frame.samples / frame.sample_rate for frame in source.decode(audio=0))
    assert len(result.frames) == 30 and seconds == pytest.approx(30 / 24, abs=0.1)


async def test_fast_takes_the_recipe_of_few_steps(tmp_path: Path) -> None:
    fast = await made(tmp_path, "text_to_image", quality="fast", **SMALL)
    assert fast.recipe == "qwen-image-lightning"
    best = await made(tmp_path, Capability.TEXT_TO_IMAGE, quality="quality", **SMALL)
    sampler = next(node for node in best.provenance["graph"].values() if node["class_type"] == "KSampler")
    assert best.recipe == "qwen-image" and sampler["inputs"]["steps"] == 50


async def test_a_server_with_few_files_takes_what_it_can_serve_and_says_why_not_the_rest(tmp_path: Path) -> None:
    files = {"models": {"checkpoints": ("v1-5-pruned-emaonly.safetensors",)}}
    result = await made(tmp_path, "TEXT_TO_IMAGE", settings=files, **SMALL)
    assert result.recipe == "sd15-text-to-image"
    reasons = {item.recipe: item.reasons for item in result.refused}
    assert "models/diffusion_models" in reasons["qwen-image"][0]
    assert reasons["qwen-image-controlnet"] == ("it takes 1 pictures, not 0",)


async def test_what_no_recipe_can_serve_is_refused_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        await made(tmp_path, "TEXT_TO_VIDEO", settings={"models": {}}, **SMALL)
    refused = caught.value.facts["refused"]
    assert "wan22-text-to-video" in {item["recipe"] for item in refused} and all(item["reasons"] for item in refused)
    with pytest.raises(UnsupportedError, match="it needs picture"):
        await made(tmp_path, "INPAINTING", family="sdxl", images=(disc(),))
    with pytest.raises(UnsupportedError):
        await made(tmp_path, "IMAGE_TO_3D", "TEXT_TO_AUDIO")


async def test_an_older_server_is_told_which_version_brings_the_node(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"SaveImageAdvanced is missing \(ComfyUI 0.33.0 or newer"):
        await made(tmp_path, settings={"version": "0.8.0"}, recipe="z-image")


async def test_video_inpainting_changes_only_what_the_masks_show(tmp_path: Path) -> None:
    video = clip(6, (160, 96))
    result = await made(
        tmp_path, "INPAINTING", video=video, masks=tuple(left_half((160, 96)) for _ in video), seed=1, fps=8.0
    )
    assert "vace" in result.recipe and len(result.frames) == 6
    for before, after in zip(video, result.frames, strict=True):
        kept = (100, 10, 150, 70)
        difference = [abs(a - b) for a, b in zip(_mean(before.crop(kept)), _mean(after.crop(kept)), strict=True)]
        assert max(difference) < 6
        changed = (10, 10, 60, 70)
        assert _mean(before.crop(changed)) != pytest.approx(_mean(after.crop(changed)), abs=6)


def _mean(picture: Image.Image) -> tuple[float, ...]:
    return tuple(np.asarray(picture.convert("RGB"), float).mean(axis=(0, 1)).tolist())


async def test_masks_of_another_number_than_the_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 masks for 6 frames"):
        await made(tmp_path, "VIDEO_INPAINTING", video=clip(6), masks=(left_half(),) * 3)


async def test_a_video_file_goes_in_with_its_own_size_length_and_rate(tmp_path: Path) -> None:
    first = await made(tmp_path, "VIDEO_GENERATION", width=176, height=112, frames=7, fps=10.0)
    request = {"video": first.outputs[0], "mask": left_half((176, 112)), "mask_options": MaskOptions(2.0, 3)}
    result = await made(tmp_path, "VIDEO_INPAINTING", seed=1, **request)
    assert (len(result.frames), result.frames.size, result.fps) == (7, (176, 112), 10.0)


async def test_wan_alpha_gives_colours_and_alpha(tmp_path: Path) -> None:
    result = await made(tmp_path, "ALPHA_VIDEO", frames=10, **SMALL)
    assert result.recipe == "wan-alpha" and result.alphas is not None
    assert [picture.mode for picture in result.frames] == ["RGB"] * 10
    assert [picture.mode for picture in result.alphas] == ["L"] * 10
    assert result.alphas[0].size == (160, 96)


@pytest.mark.parametrize("mode", ["threshold", "edge_aware", "semantic"])
async def test_an_alpha_matte_can_be_made_for_any_video_and_says_how(mode: str, tmp_path: Path) -> None:
    result = await made(tmp_path, "ALPHA_VIDEO", alpha=mode, family="wan22", frames=6, **SMALL)
    assert result.alphas is not None and len(result.alphas) == len(result.frames) == 6
    mattes = list(result.alphas)
    assert {picture.mode for picture in mattes} == {"L"} and {picture.size for picture in mattes} == {(160, 96)}
    assert any(path.name.endswith(f"-{mode}.webp") for path in result.outputs)
    assert any("estimated from colours" in remark for remark in result.warnings) is (mode != AlphaMode.SEMANTIC)
    values = set(np.unique(np.stack([np.asarray(picture) for picture in mattes])).tolist())
    assert values <= {0, 255} if mode == "threshold" else len(values) > 2


async def test_a_semantic_matte_is_refused_where_the_server_cannot_make_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no background-removal nodes"):
        await made(
            tmp_path, "ALPHA_VIDEO", alpha="semantic", family="wan22", frames=2, settings={"version": "0.8.0"}, **SMALL
        )


async def test_what_a_recipe_does_not_take_is_left_out_with_a_remark(tmp_path: Path) -> None:
    result = await made(tmp_path, recipe="z-image-turbo", negative="blurry", **SMALL)
    assert any("takes no negative" in remark for remark in result.warnings)


async def test_a_size_that_is_not_made_is_cut_and_the_picture_keeps_its_workflow(tmp_path: Path) -> None:
    result = await made(tmp_path, recipe="qwen-image", width=201, height=99, seed=5)
    with Image.open(result.outputs[0]) as picture:
        assert picture.size == (201, 99) and "prompt" in picture.info and "comfyops_simulated" in picture.info


async def test_the_record_beside_the_result_tells_how_it_was_made(tmp_path: Path) -> None:
    result = await made(tmp_path, "IMAGE_EDITING", images=(disc(), disc("red")), **SMALL)
    record = json.loads(result.outputs[0].with_suffix(".json").read_text())
    assert record["engine"] == "simulator" and record["simulated"] is True
    assert record["recipe"] == "qwen-image-edit" and record["seed"] == 7 and len(record["uploads"]) == 2
    assert set(record["files"]) == {path.name for path in result.outputs}


async def test_a_drawn_seed_is_told(tmp_path: Path) -> None:
    first = await made(tmp_path, recipe="sd15-text-to-image", width=64, height=64)
    second = await made(tmp_path, recipe="sd15-text-to-image", width=64, height=64)
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"images": (Path("not-there.png"),)}, MissingFileError),
        ({"video": Path("not-there.mp4"), "recipe": "upscale-video"}, MissingFileError),
        ({"images": (Path(__file__),)}, InputError),
        ({"frames": 0}, UsageError),
        ({"width": -5}, UsageError),
    ],
)
async def test_wrong_requests_are_refused_in_words(
    wrong: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    given: dict[str, Any] = (
        {"recipe": "wan22-text-to-video"} if "images" not in wrong else {"recipe": "qwen-image-edit"}
    )
    if "frames" in wrong:
        wrong = {"frames": -3}
    with pytest.raises(error):
        await made(tmp_path, **{**given, **wrong})
    assert not list(tmp_path.glob("out/*"))


def test_unknown_words_in_a_request_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError) as caught:
        GenerationRequest(capabilities=("TEXT_TO_SMELL",))  # type: ignore[arg-type]
    assert "text_to_image" in caught.value.hint
    with pytest.raises(UsageError):
        GenerationRequest(capabilities=())
    with pytest.raises(UsageError):
        GenerationRequest(capabilities=("TEXT_TO_IMAGE",), quality="ultra")  # type: ignore[arg-type]


async def test_the_local_engine_serves_video_generation_alone_and_never_anything_else(tmp_path: Path) -> None:
    request = GenerationRequest(capabilities=("VIDEO_GENERATION",), prompt="A storm.", frames=5, width=160, height=96)  # type: ignore[arg-type]
    result = await generate(request, None, tmp_path)
    assert result.engine is Engine.LOCAL and not result.simulated and len(result.frames) == 5
    with pytest.raises(UsageError, match="without a server"):
        await generate(GenerationRequest(capabilities=(Capability.TEXT_TO_VIDEO,)), None, tmp_path)
    with pytest.raises(UnsupportedError):
        await made(tmp_path, "VIDEO_GENERATION", "TEXT_TO_VIDEO")


async def test_a_file_in_place_of_the_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError):
        await made(tmp_path, "TEXT_TO_IMAGE", **SMALL)


async def test_a_damaged_output_is_a_failed_run_and_no_result(tmp_path: Path) -> None:
    from comfyops.errors import RunFailedError
    from comfyops.simulator.settings import Faults

    with pytest.raises(RunFailedError, match="damaged"):
        await made(tmp_path, recipe="sdxl-text-to-image", settings={"faults": Faults(corrupt_output=True)}, **SMALL)


def test_pictures_are_measured_once_they_are_asked_for(tmp_path: Path) -> None:
    disc().save(tmp_path / "one.png")
    found = frames.opened([tmp_path / "one.png"])
    assert found.size == SIZE and len(found) == 1 and found[-1].size == SIZE
