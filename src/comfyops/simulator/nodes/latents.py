"""Latents: empty, encoded, decoded, resized, joined."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.draw import draw
from comfyops.simulator.nodes.define import computed, grown, instant
from comfyops.simulator.nodes.given import Given
from comfyops.simulator.values import Audio, Latent, frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_SIXTEEN = ("SD3", "Hunyuan", "Wan", "Cosmos", "Qwen", "Mochi")
_LENGTHS = ("length", "video_frames", "frames_number", "num_frames")


def latent(facts: Given, index: int = 0) -> Latent:
    """The latent that a node gives, judged by its inputs: one that came in, an encoded picture, or an empty one."""
    before = facts.all_of(Latent)
    if before:
        return replace(before[min(index, len(before) - 1)], digest=facts.digest)
    width, height = facts.whole("width", "target_width"), facts.whole("height", "target_height")
    images = facts.images()
    if images and not width:
        return encoded(images[0])
    audio = facts.first(Audio)
    seconds = audio.seconds if audio else facts.number("seconds", "duration")
    frames = facts.whole(*_LENGTHS)
    if not width and "Audio" in facts.class_type:
        seconds = seconds or frames / max(facts.number("frame_rate", "fps", default=25), 1)
        return Latent(0, 0, max(facts.whole("batch_size", default=1), 1), seconds=seconds or 1.0, kind="audio")
    video = frames > 1
    return Latent(
        width=max(width // 8, 1) * 8 if width else 512,
        height=max(height // 8, 1) * 8 if height else 512,
        batch=max(facts.whole("batch_size", default=1), 1),
        frames=(frames - 1) // 4 * 4 + 1 if video else 0,
        channels=16 if facts.class_type.removeprefix("Empty").startswith(_SIXTEEN) else 4,
        kind="3d" if "3D" in facts.class_type or "Trellis" in facts.class_type else "image",
    )


def encoded(pixels: Array) -> Latent:
    """A latent of these pictures; what does not fill a whole cell of 8 pixels is cut off on both sides."""
    rows, columns = pixels.shape[1] // 8 * 8 or 8, pixels.shape[2] // 8 * 8 or 8
    top, left = (pixels.shape[1] - rows) // 2, (pixels.shape[2] - columns) // 2
    if top >= 0 and left >= 0:
        pixels = pixels[:, top : top + rows, left : left + columns]
    return Latent(columns, rows, len(pixels), pixels=frozen_array(pixels[..., :3]))


def vae_encode(pixels: Array) -> Latent:
    """VAEEncode, VAEEncodeTiled."""
    return encoded(pixels)


def encode_for_inpaint(pixels: Array, mask: Array, grow_mask_by: int = 6) -> Latent:
    """VAEEncodeForInpaint: the masked part becomes grey, the mask goes along."""
    from comfyops.simulator.nodes.masks import grow
    from comfyops.simulator.nodes.resize import scaled

    fitted = scaled(mask, pixels.shape[2], pixels.shape[1])
    keep = 1 - np.round(fitted)[..., None]
    result = encoded((pixels[..., :3] - 0.5) * keep + 0.5)
    return replace(result, mask=frozen_array(grow(np.round(fitted), grow_mask_by, False)))


async def vae_decode(call: NodeCall) -> NodeResult:
    """VAEDecode, VAEDecodeTiled: draws."""
    samples = call.inputs["samples"]
    picture_part = next((part for part in samples.parts if part.kind == "image"), samples)
    if picture_part.kind == "audio":
        raise ValueError("This latent holds sound; decode it with an audio decoder")
    return NodeResult((await asyncio.to_thread(draw, picture_part),))


def upscale(samples: Latent, width: int, height: int) -> Latent:
    """LatentUpscale: 0 follows from the other side."""
    if width == 0 and height == 0:
        return samples
    width = width or max(64, round(samples.width * height / samples.height))
    height = height or max(64, round(samples.height * width / samples.width))
    return _sized(samples, max(64, width), max(64, height))


def upscale_by(samples: Latent, scale_by: float) -> Latent:
    """LatentUpscaleBy."""
    cells = round(samples.width / 8 * scale_by), round(samples.height / 8 * scale_by)
    return replace(samples, width=cells[0] * 8, height=cells[1] * 8)


def upsample_twice(samples: Latent) -> Latent:
    """LTXVLatentUpsampler."""
    return replace(samples, width=samples.width * 2, height=samples.height * 2)


def upscale_with_model(samples: Latent, width: int, height: int) -> Latent:
    """HunyuanVideo15LatentUpscaleWithModel: in whole cells of 16 pixels; 0 follows from the other side."""
    if width == 0 and height == 0:
        return samples
    width = width or round(samples.width * height / samples.height)
    height = height or round(samples.height * width / samples.width)
    return replace(samples, width=max(width // 16, 1) * 16, height=max(height // 16, 1) * 16)


def empty_layers(width: int, height: int, layers: int, batch_size: int = 1) -> Latent:
    """EmptyQwenImageLayeredLatentImage: the whole picture and each of its layers, as frames."""
    return Latent(max(width // 16, 1) * 16, max(height // 16, 1) * 16, batch_size, frames=layers + 1, channels=16)


def cut_out(samples: Latent, dim: str, index: int, amount: int) -> Latent:
    """LatentCut along time: frames from `index` on; along the sides it is left whole."""
    if dim != "t" or samples.frames < 1:
        return samples
    start = min(index, samples.frames - 1) if index >= 0 else max(samples.frames + index, 0)
    return replace(samples, frames=min(amount, samples.frames - start), batch_index=samples.batch_index + start)


def cut_to_batch(samples: Latent, dim: str, slice_size: int) -> Latent:
    """LatentCutToBatch along time: every frame becomes a picture of its own."""
    if dim != "t" or samples.frames < 1:
        return samples
    return replace(samples, frames=0, batch=samples.batch * samples.frames)


def _sized(samples: Latent, width: int, height: int) -> Latent:
    return replace(samples, width=width // 8 * 8, height=height // 8 * 8)


def crop(samples: Latent, width: int, height: int, x: int, y: int) -> Latent:
    """LatentCrop: a smaller one; its picture is drawn anew in that size."""
    cells = samples.width // 8, samples.height // 8
    x, y = min(x // 8, cells[0] - 8), min(y // 8, cells[1] - 8)
    wide, tall = min(width // 8, cells[0] - x), min(height // 8, cells[1] - y)
    pixels = samples.pixels
    if pixels is not None:
        pixels = frozen_array(pixels[:, y * 8 : (y + tall) * 8, x * 8 : (x + wide) * 8])
    return replace(samples, width=wide * 8, height=tall * 8, pixels=pixels)


def from_batch(samples: Latent, batch_index: int, length: int) -> Latent:
    """LatentFromBatch."""
    start = min(samples.batch - 1, batch_index)
    length = min(samples.batch - start, length)
    pixels = None if samples.pixels is None else samples.pixels[start : start + length]
    return replace(samples, batch=length, batch_index=samples.batch_index + start, pixels=pixels)


def repeat_batch(samples: Latent, amount: int) -> Latent:
    """RepeatLatentBatch."""
    return replace(samples, batch=samples.batch * amount)


def set_mask(samples: Latent, mask: Array) -> Latent:
    """SetLatentNoiseMask."""
    return replace(samples, mask=frozen_array(mask))


def trim(samples: Latent, trim_amount: int) -> Latent:
    """TrimVideoLatent: a latent frame is four frames of the video."""
    return replace(samples, frames=max(samples.frames - trim_amount * 4, 1))


def batch(samples1: Latent, samples2: Latent) -> Latent:
    """LatentBatch: the second one's pictures in the size of the first."""
    return join([samples1, samples2])


def batch_many(latents: Mapping[str, Latent]) -> Latent:
    """BatchLatentsNode."""
    return join(grown(latents))


def join(latents: list[Latent]) -> Latent:
    """One latent whose decoded pictures are those of all, in the size of the first."""
    first = latents[0]
    if all(one.layers == first.layers and one.pixels is None for one in latents):
        return replace(first, batch=sum(one.batch for one in latents))
    sized = [draw(replace(one, width=first.width, height=first.height, frames=0)) for one in latents]
    pixels = np.concatenate(sized)
    return replace(first, batch=len(pixels), pixels=frozen_array(pixels), layers=())


def combine_av(video_latent: Latent, audio_latent: Latent) -> Latent:
    """LTXVConcatAVLatent."""
    return replace(video_latent, parts=(replace(video_latent, parts=()), audio_latent))


def separate_av(av_latent: Latent) -> tuple[Latent, Latent]:
    """LTXVSeparateAVLatent."""
    if len(av_latent.parts) == 2:
        return av_latent.parts[0], av_latent.parts[1]
    seconds = max(av_latent.frames, 1) / 25
    return av_latent, Latent(0, 0, seconds=seconds, kind="audio", layers=av_latent.layers)


NODES: dict[str, NodeFunction] = {
    "VAEEncode": computed(vae_encode),
    "VAEEncodeTiled": computed(vae_encode),
    "VAEEncodeForInpaint": computed(encode_for_inpaint),
    "VAEDecode": vae_decode,
    "VAEDecodeTiled": vae_decode,
    "LatentUpscale": instant(upscale),
    "LatentUpscaleBy": instant(upscale_by),
    "LTXVLatentUpsampler": instant(upsample_twice),
    "HunyuanVideo15LatentUpscaleWithModel": instant(upscale_with_model),
    "EmptyQwenImageLayeredLatentImage": instant(empty_layers),
    "LatentCut": instant(cut_out),
    "LatentCutToBatch": instant(cut_to_batch),
    "LatentCrop": instant(crop),
    "LatentFromBatch": instant(from_batch),
    "RepeatLatentBatch": instant(repeat_batch),
    "SetLatentNoiseMask": instant(set_mask),
    "TrimVideoLatent": instant(trim),
    "LatentBatch": computed(batch),
    "BatchLatentsNode": computed(batch_many),
    "LTXVConcatAVLatent": instant(combine_av),
    "LTXVSeparateAVLatent": instant(separate_av),
}
