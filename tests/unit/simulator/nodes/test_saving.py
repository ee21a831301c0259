"""Names, counters and metadata of saved files, and what is in them."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from comfyops.simulator.nodes.sounds import tune
from comfyops.simulator.values import Video, frozen_array

from .support import Bench

PICTURES = frozen_array(np.random.default_rng(3).random((4, 32, 48, 3), dtype=np.float32))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def content(bench: Bench, entry: dict[str, str]) -> bytes:
    folder = bench.host.temp_folder if entry["type"] == "temp" else bench.host.output_folder
    return (folder / entry["subfolder"] / entry["filename"]).read_bytes()


def streams(data: bytes) -> list[tuple[str, str]]:
    with av.open(io.BytesIO(data)) as file:
        return [(stream.type, stream.codec_context.name) for stream in file.streams]


def tags(data: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(data)) as file:
        return {key.lower(): value for key, value in file.metadata.items()}


async def test_counter_goes_on_from_what_is_there(bench: Bench) -> None:
    for name in ("x_00007_.png", "x_00041_.txt", "xy_00099_.png", "x_abc_.png", "x_.png"):
        (bench.host.output_folder / name).touch()
    result = await bench.run("SaveImage", images=PICTURES[:2], filename_prefix="x")
    assert [item["filename"] for item in result.ui["images"]] == ["x_00042_.png", "x_00043_.png"]


async def test_prefix_may_hold_folders_and_values(bench: Bench) -> None:
    prefix = "a/b/%width%x%height%-%year%-%batch_num%-%date:yy%"
    result = await bench.run("SaveImage", images=PICTURES[:2], filename_prefix=prefix)
    year = datetime.now().year
    assert [item["filename"] for item in result.ui["images"]] == [
        f"48x32-{year}-0-%date:yy%_00001_.png",
        f"48x32-{year}-1-%date:yy%_00002_.png",
    ]
    assert {item["subfolder"] for item in result.ui["images"]} == {"a/b"}


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/etc/x"])
async def test_nothing_is_saved_outside_of_the_output_folder(bench: Bench, prefix: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="outside of the output folder"):
        await bench.run("SaveImage", images=PICTURES[:1], filename_prefix=prefix)
    assert sorted(tmp_path.rglob("*")) == before


async def test_previews_go_to_temp_under_a_random_name(bench: Bench) -> None:
    first = (await bench.run("PreviewImage", images=PICTURES[:1])).ui["images"][0]
    assert first["type"] == "temp"
    assert first["filename"].startswith("ComfyUI_temp_")
    assert first["filename"].endswith("_00001_.png")


async def test_metadata_holds_prompt_workflow_and_the_mark(bench: Bench) -> None:
    prompt = bench.text_to_image()
    results = await bench.graph(prompt, {"workflow": {"nodes": []}})
    texts = Image.open(io.BytesIO(content(bench, results["7"].ui["images"][0]))).text
    assert json.loads(texts["prompt"]) == prompt
    assert json.loads(texts["workflow"]) == {"nodes": []}
    mark = json.loads(texts["comfyops_simulated"])
    assert mark["simulated"] is True
    assert "KSampler" in mark["classes"]


async def test_what_is_really_computed_is_not_marked_as_simulated(bench: Bench) -> None:
    prompt: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    results = await bench.graph(prompt)
    assert set(Image.open(io.BytesIO(content(bench, results["2"].ui["images"][0]))).text) == {"prompt"}


async def test_saving_passes_the_picture_on_where_the_server_does(tmp_path: Path) -> None:
    new, old = Bench(tmp_path / "new"), Bench(tmp_path / "old", "0.8.0")
    assert (await new.run("SaveImage", images=PICTURES, filename_prefix="x")).outputs == (PICTURES,)
    assert (await old.run("SaveImage", images=PICTURES, filename_prefix="x")).outputs == ()


async def test_animations_hold_all_frames(bench: Bench) -> None:
    webp = await bench.run(
        "SaveAnimatedWEBP",
        images=PICTURES,
        filename_prefix="w",
        fps=10.0,
        lossless=True,
        quality=80,
        method="default",
    )
    png = await bench.run("SaveAnimatedPNG", images=PICTURES, filename_prefix="p", fps=10.0, compress_level=4)
    for result in (webp, png):
        assert result.ui["animated"] == (True,)
        picture = Image.open(io.BytesIO(content(bench, result.ui["images"][0])))
        assert picture.n_frames == 4
    assert webp.ui["images"][0]["filename"] == "w_00001_.webp"


@pytest.mark.parametrize(
    ("chosen", "extension", "codec"),
    [
        ({"format": "auto", "codec": "auto"}, "mp4", "h264"),
        ({"format": "mp4", "format.codec": "h264"}, "mp4", "h264"),
        ({"format": "mkv", "format.codec": "auto"}, "mkv", "h264"),
        ({"format": "webm", "format.codec": "auto"}, "webm", "av1"),
    ],
)
async def test_videos_open_and_have_sound(bench: Bench, chosen: dict[str, str], extension: str, codec: str) -> None:
    video = Video(PICTURES, 8.0, tune("ab" * 32, 0.5))
    result = await bench.run("SaveVideo", video=video, filename_prefix="video/x", **chosen)
    assert result.ui["images"][0]["filename"] == f"x_00001_.{extension}"
    data = content(bench, result.ui["images"][0])
    kinds = streams(data)
    assert [kind for kind, _ in kinds] == ["video", "audio"]
    assert codec in kinds[0][1].replace("libdav1d", "av1")
    assert "prompt" in tags(data)


async def test_video_of_odd_size_is_saved(bench: Bench) -> None:
    result = await bench.run(
        "SaveWEBM", images=PICTURES[:, :31, :47], filename_prefix="w", codec="vp9", fps=6.0, crf=32.0
    )
    assert streams(content(bench, result.ui["images"][0]))[0] == ("video", "vp9")


@pytest.mark.parametrize(
    ("class_type", "quality", "name", "codec"),
    [
        ("SaveAudio", {}, "x_00001.flac", "flac"),
        ("SaveAudioMP3", {"quality": "128k"}, "x_00001.mp3", "mp3"),
        ("SaveAudioOpus", {"quality": "64k"}, "x_00001.opus", "opus"),
    ],
)
async def test_sound_files_open(bench: Bench, class_type: str, quality: dict[str, str], name: str, codec: str) -> None:
    result = await bench.run(class_type, audio=tune("cd" * 32, 0.5), filename_prefix="audio/x", **quality)
    assert result.ui["audio"][0] == {"filename": name, "subfolder": "audio", "type": "output"}
    kind, found = streams(content(bench, result.ui["audio"][0]))[0]
    assert kind == "audio"
    assert codec in found


async def test_a_saved_video_loads_again(bench: Bench) -> None:
    plain = np.broadcast_to(np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None], (6, 32, 32, 3))
    saved = await bench.run("SaveVideo", video=Video(frozen_array(plain), 12.0), filename_prefix="v", format="mp4")
    name = saved.ui["images"][0]["filename"]
    video = await bench.out("LoadVideo", file=f"{name} [output]")
    frames, _, rate, *_ = (await bench.run("GetVideoComponents", video=video)).outputs
    assert rate == 12
    assert np.allclose(frames.mean(axis=(1, 2, 3)), plain[:, 0, 0, 0], atol=0.03)


async def test_saved_sound_loads_again(bench: Bench) -> None:
    sound = tune("ef" * 32, 0.25)
    saved = await bench.run("SaveAudio", audio=sound, filename_prefix="s")
    again = await bench.out("LoadAudio", audio=saved.ui["audio"][0]["filename"] + " [output]")
    assert again.rate == sound.rate
    assert np.allclose(again.samples, sound.samples, atol=1e-3)


async def test_a_saved_latent_decodes_to_the_same_picture(bench: Bench) -> None:
    results = await bench.graph(bench.text_to_image())
    saved = await bench.run("SaveLatent", samples=results["5"].outputs[0], filename_prefix="latents/x")
    entry = saved.ui["latents"][0]
    (bench.host.input_folder / "x.latent").write_bytes(content(bench, entry))
    loaded = await bench.out("LoadLatent", latent="x.latent")
    picture = await bench.out("VAEDecode", samples=loaded, vae=results["1"].outputs[2])
    assert (picture == results["6"].outputs[0]).all()


async def test_websocket_pictures_leave_no_ui(bench: Bench) -> None:
    result = await bench.run("SaveImageWebsocket", images=PICTURES[:2])
    assert result.ui is None
    assert [Image.open(io.BytesIO(data)).format for data in bench.host.previews] == ["PNG", "PNG"]


async def test_3d_files_are_valid_glb(bench: Bench) -> None:
    mesh = await bench.out("VoxelToMesh", voxel=None, algorithm="basic", threshold=0.6)
    saved = await bench.run("SaveGLB", mesh=mesh, filename_prefix="3d/x")
    entry = saved.ui["3d"][0]
    data = content(bench, entry)
    assert entry["filename"] == "x_00001_.glb"
    assert data[:4] == b"glTF"
    assert int.from_bytes(data[8:12], "little") == len(data)
    head = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert "simulator" in head["asset"]["generator"]


async def test_cropping_shows_what_it_cut_out(bench: Bench) -> None:
    region = {"x": 1, "y": 1, "width": 4, "height": 4}
    new = await bench.run("ImageCropV2", image=PICTURES, crop_region=region)
    assert new.ui["animated"] == (False,)
    assert [item["type"] for item in new.ui["images"]] == ["temp"] * 4
