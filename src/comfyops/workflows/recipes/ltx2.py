"""LTX-2: video with sound from text or a picture, in two passes with the spatial upscaler; camera LoRAs."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import LTX, LTX_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

CAMERA = "ltx-2-19b-lora-camera-control-{}.safetensors"
"""File name of a camera LoRA: dolly-left, dolly-right, dolly-in, dolly-out, jib-up, jib-down, static."""

_TEXT, _IMAGE = "video_ltx2_t2v", "video_ltx2_i2v"
_EXACT = ("resize_type", "scale dimensions")
_PINS = {
    "prompt": (Pin("CLIPTextEncode", "text", role="positive"),),
    "negative": (Pin("CLIPTextEncode", "text", role="negative"),),
    "seed": (Pin("RandomNoise", "noise_seed"),),
    "frames": (Pin("EmptyLTXVLatentVideo", "length"), Pin("LTXVEmptyLatentAudio", "frames_number")),
    "fps": (
        Pin("CreateVideo", "fps"),
        Pin("LTXVConditioning", "frame_rate"),
        Pin("LTXVEmptyLatentAudio", "frame_rate"),
    ),
    "steps": (Pin("LTXVScheduler", "steps"),),
    "width": (Pin("EmptyImage", "width"),),
    "height": (Pin("EmptyImage", "height"),),
}

_T2V = Recipe(
    name="ltx2-text-to-video",
    title="LTX-2: video with sound from text, upscaled",
    family="ltx2",
    capabilities=frozenset({C.TEXT_TO_VIDEO, C.SUPER_RESOLUTION}),
    source=Source(_TEXT),
    takes=frozenset({"prompt", "negative", "seed", "steps", "width", "height", "frames", "fps", "loras"}),
    make=official.made_from(_TEXT, _PINS),
    version="0.8.0",
    vram_gb=32,
    makes="video",
    size=LTX_SIZE,
    length=LTX,
    defaults=Defaults(1280, 720, 121, 24.0, steps=(12, 20, 40)),
    urls=lambda: official.urls(_TEXT),
)

RECIPES = (
    _T2V,
    replace(
        _T2V,
        name="ltx2-image-to-video",
        title="LTX-2: video with sound from a picture, upscaled",
        capabilities=frozenset({C.IMAGE_TO_VIDEO, C.SUPER_RESOLUTION}),
        source=Source(_IMAGE),
        make=official.made_from(
            _IMAGE,
            {
                **_PINS,
                "image1": (Pin("LoadImage", "image"),),
                "width": (Pin("ResizeImageMaskNode", "resize_type.width", given=_EXACT),),
                "height": (Pin("ResizeImageMaskNode", "resize_type.height", given=_EXACT),),
            },
        ),
        defaults=Defaults(1280, 720, 121, 25.0, steps=(12, 20, 40)),
        images=(1, 1),
        urls=lambda: official.urls(_IMAGE),
    ),
)
