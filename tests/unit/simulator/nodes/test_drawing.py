"""Model nodes draw: the same picture for the same parameters on any machine, another one for any other parameter."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfyops.simulator.draw import draw, to_bytes
from comfyops.simulator.settings import SimulatorSettings
from comfyops.simulator.values import Latent, Layer, fingerprint, frozen_array

from .support import Bench


async def picture(tmp_path: Path, **changes: Any) -> Any:
    bench = Bench(tmp_path)
    return (await bench.graph(bench.text_to_image(**changes)))["6"].outputs[0]


async def test_same_parameters_give_the_same_picture(tmp_path: Path) -> None:
    first, second = await picture(tmp_path), await picture(tmp_path)
    assert first.shape == (1, 48, 64, 3)
    assert (first == second).all()


def test_a_picture_is_the_same_on_every_machine() -> None:
    layer = Layer("a castle by a lake at night", "model.safetensors", 42, 20, 7.0, fingerprint("fixed"))
    data = to_bytes(draw(Latent(96, 64, layers=(layer,)))).tobytes()
    assert hashlib.sha256(data).hexdigest() == "830a897f7a1b479fe646ead0a82cec7d5465b72d77d8894a0d4ce7f5f3eee610"


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a lighthouse over the sea at dawn"},
        {"negative": "rain"},
        {"model": "v1-5-pruned-emaonly.safetensors"},
        {"size": (72, 48)},
        {"seed": 8},
        {"steps": 5},
        {"cfg": 6.5},
        {"sampler": "heun"},
        {"scheduler": "karras"},
        {"denoise": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_every_parameter_changes_the_picture(tmp_path: Path, change: dict[str, Any]) -> None:
    before, after = await picture(tmp_path), await picture(tmp_path, **change)
    bare = slice(0, 30)  # without the strip
    assert before.shape != after.shape or (before[:, bare] != after[:, bare]).any()


async def test_loras_controlnets_and_their_pictures_change_the_picture(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    control = frozen_array(np.zeros((1, 16, 16, 3)))
    seen = []
    for lora, strength, image in (("", 0.0, None), ("a.safetensors", 1.0, None), ("a.safetensors", 1.0, control)):
        model, clip, vae = (await bench.run("CheckpointLoaderSimple", ckpt_name="x.safetensors")).outputs
        if lora:
            loaded = await bench.run(
                "LoraLoader", model=model, clip=clip, lora_name=lora, strength_model=strength, strength_clip=1.0
            )
            model, clip = loaded.outputs
        prompt = await bench.out("CLIPTextEncode", clip=clip, text="hills")
        empty = await bench.out("CLIPTextEncode", clip=clip, text="")
        if image is not None:
            net = await bench.out("ControlNetLoader", control_net_name="canny.safetensors")
            steered = await bench.run(
                "ControlNetApplyAdvanced",
                positive=prompt,
                negative=empty,
                control_net=net,
                image=image,
                strength=0.8,
                start_percent=0.0,
                end_percent=1.0,
            )
            prompt, empty = steered.outputs
        seen.append(
            await _sampled(
                bench, model, prompt, empty, vae, await bench.out("EmptyLatentImage", width=64, height=64, batch_size=1)
            )
        )
    assert not any((one == other).all() for at, one in enumerate(seen) for other in seen[:at])
    assert seen[2].mean() < seen[1].mean()  # the black control picture shows


async def _sampled(bench: Bench, model: Any, prompt: Any, empty: Any, vae: Any, latent: Any, **more: Any) -> Any:
    values = {"seed": 1, "steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0} | more
    finished = await bench.out("KSampler", model=model, positive=prompt, negative=empty, latent_image=latent, **values)
    return await bench.out("VAEDecode", samples=finished, vae=vae)


async def test_denoise_decides_how_much_of_the_start_picture_stays(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    start = frozen_array(np.full((1, 64, 64, 3), 1.0))
    model, clip, vae = (await bench.run("CheckpointLoaderSimple", ckpt_name="x.safetensors")).outputs
    prompt = await bench.out("CLIPTextEncode", clip=clip, text="hills at night")
    latent = await bench.out("VAEEncode", pixels=start, vae=vae)
    means = [
        (await _sampled(bench, model, prompt, prompt, vae, latent, denoise=denoise))[:, :40].mean()
        for denoise in (0.0, 0.3, 0.7, 1.0)
    ]
    assert means[0] == 1.0
    assert means == sorted(means, reverse=True)
    assert means[3] < 0.6


async def test_inpainting_changes_only_what_is_masked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    model, clip, vae = (await bench.run("CheckpointLoaderSimple", ckpt_name="x.safetensors")).outputs
    prompt = await bench.out("CLIPTextEncode", clip=clip, text="hills at night")
    mask = np.zeros((1, 64, 64), np.float32)
    mask[:, :, 32:] = 1
    latent = await bench.out("VAEEncode", pixels=np.ones((1, 64, 64, 3), np.float32), vae=vae)
    latent = await bench.out("SetLatentNoiseMask", samples=latent, mask=mask)
    result = await _sampled(bench, model, prompt, prompt, vae, latent)
    assert (result[:, :40, :30] == 1).all()
    assert result[:, :40, 34:].mean() < 0.6


async def test_the_strip_is_legible(tmp_path: Path) -> None:
    result = await picture(tmp_path, size=(512, 256))
    strip = result[0, -15:, :, 0]
    assert (strip > 0.9).sum() > 300  # the letters
    assert np.median(strip) < 0.5  # on a dark ground


async def test_batches_hold_different_pictures(tmp_path: Path) -> None:
    result = await picture(tmp_path, batch=3)
    assert len(result) == 3
    assert (result[0, :30] != result[1, :30]).any()


async def test_steps_are_reported_and_take_their_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings=SimulatorSettings(seconds_per_step=0.25, previews=True))
    await bench.graph(bench.text_to_image(steps=3))
    assert bench.host.steps == [(1, 3), (2, 3), (3, 3)]
    assert bench.host.pauses == [0.25] * 3
    assert [Image.open(io.BytesIO(data)).format for data in bench.host.previews] == ["JPEG"] * 3


async def test_advanced_sampler_takes_only_its_part_of_the_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    model, clip, _ = (await bench.run("CheckpointLoaderSimple", ckpt_name="x.safetensors")).outputs
    prompt = await bench.out("CLIPTextEncode", clip=clip, text="hills")
    await bench.run(
        "KSamplerAdvanced",
        model=model,
        add_noise="enable",
        noise_seed=3,
        steps=20,
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        positive=prompt,
        negative=prompt,
        latent_image=Latent(64, 64),
        start_at_step=5,
        end_at_step=9,
        return_with_leftover_noise="enable",
    )
    assert bench.host.steps[-1] == (4, 4)


async def test_custom_sampling_takes_prompt_seed_and_steps_from_its_parts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    model = await bench.out("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default")
    clip = await bench.out("CLIPLoader", clip_name="t5.safetensors", type="flux")
    prompt = await bench.out("CLIPTextEncode", clip=clip, text="a quiet lake")
    result = await bench.out(
        "SamplerCustomAdvanced",
        noise=await bench.out("RandomNoise", noise_seed=99),
        guider=await bench.out("BasicGuider", model=model, conditioning=prompt),
        sampler=await bench.out("KSamplerSelect", sampler_name="euler"),
        sigmas=await bench.out("BasicScheduler", model=model, scheduler="simple", steps=6, denoise=1.0),
        latent_image=Latent(64, 64),
    )
    (layer,) = result.layers
    assert (layer.prompt, layer.seed, layer.steps) == ("a quiet lake", 99, 6)
    assert layer.model == "flux1-dev.safetensors"
    assert bench.host.models == [("diffusion_models", "flux1-dev.safetensors"), ("text_encoders", "t5.safetensors")]


async def test_sigmas_are_split_flipped_and_follow_their_formulas(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    karras = await bench.out("KarrasScheduler", steps=3, sigma_max=16.0, sigma_min=1.0, rho=2.0)
    assert karras.values == (16.0, 6.25, 1.0, 0.0)
    exponential = await bench.out("ExponentialScheduler", steps=3, sigma_max=16.0, sigma_min=1.0)
    assert exponential.values == pytest.approx((16.0, 4.0, 1.0, 0.0))
    high, low = (await bench.run("SplitSigmas", sigmas=karras, step=1)).outputs
    assert (high.values, low.values) == ((16.0, 6.25), (6.25, 1.0, 0.0))
    assert (await bench.out("FlipSigmas", sigmas=karras)).values == (0.0001, 1.0, 6.25, 16.0)
    assert (await bench.out("ManualSigmas", sigmas="1.0, .5, 0")).values == (1.0, 0.5, 0.0)


async def test_videos_have_all_frames_and_move(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    model = await bench.out("UNETLoader", unet_name="wan.safetensors", weight_dtype="default")
    prompt = await bench.out("CLIPTextEncode", clip=None, text="a forest")
    positive, negative, latent = (
        await bench.run(
            "WanImageToVideo", positive=prompt, negative=prompt, vae=None, width=64, height=32, length=10, batch_size=1
        )
    ).outputs
    frames = await _sampled(bench, model, positive, negative, None, latent)
    assert frames.shape == (9, 32, 64, 3)
    assert (frames[0] != frames[-1]).any()


async def test_upscaling_with_a_model_follows_the_number_in_its_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    model = await bench.out("UpscaleModelLoader", model_name="RealESRGAN_x2plus.pth")
    large = await bench.out("ImageUpscaleWithModel", upscale_model=model, image=np.zeros((1, 20, 30, 3), np.float32))
    assert large.shape == (1, 40, 60, 3)


async def test_an_edited_picture_shows_in_the_result(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    white = frozen_array(np.ones((1, 64, 64, 3)))
    means = []
    for picture in (None, white):
        more = {} if picture is None else {"image1": picture}
        prompt = await bench.out("TextEncodeQwenImageEditPlus", clip=None, prompt="at night", vae=None, **more)
        model = await bench.out("UNETLoader", unet_name="qwen.safetensors", weight_dtype="default")
        means.append((await _sampled(bench, model, prompt, prompt, None, Latent(64, 64)))[:, :40].mean())
    assert means[1] > means[0] + 0.2


async def test_api_nodes_draw_for_their_prompt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    one = await bench.out("FluxProUltraImageNode", prompt="a red desert", seed=1)
    other = await bench.out("FluxProUltraImageNode", prompt="a red desert", seed=2)
    assert one.shape == (1, 512, 512, 3)
    assert (one != other).any()


async def test_drawing_is_quick_and_leaves_the_event_loop_free(tmp_path: Path) -> None:
    layer = Layer("a castle in the mountains", "m", 1, 20, 7.0, fingerprint("x"))

    def seconds(size: int) -> float:
        start = time.perf_counter()
        draw(Latent(size, size, layers=(layer,)))
        return time.perf_counter() - start

    small = min([await asyncio.to_thread(seconds, 512) for _ in range(3)])
    large = min([await asyncio.to_thread(seconds, 1024) for _ in range(3)])
    assert small < 1.0
    assert large < 3.0


async def test_sizes_beyond_reason_fail_and_do_not_fill_the_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(MemoryError, match="GiB"):
        await bench.run("VAEDecode", samples=Latent(16384, 16384, 64), vae=None)
    with pytest.raises(MemoryError, match="GiB"):
        await bench.run("EmptyImage", width=16384, height=16384, batch_size=64, color=0)


def test_a_very_large_picture_is_painted_smaller_and_enlarged() -> None:
    layer = Layer("hills", "m", 1, 20, 7.0, fingerprint("x"))
    assert draw(Latent(2560, 64, layers=(layer,))).shape == (1, 64, 2560, 3)
