"""Wan 2.2: video from text or a picture by the 14B pair of models (also by Lightning in 4 steps) or the 5B one."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import WAN, WAN_5B_SIZE, WAN_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_TEXT, _IMAGE, _SMALL = "video_wan2_2_14B_t2v", "video_wan2_2_14B_i2v", "video_wan2_2_5B_ti2v"
_ENDS = "video_wan2_2_14B_fun_inpaint"


def _pins(latent: str) -> dict[str, tuple[Pin, ...]]:
    return {
        "prompt": (Pin("CLIPTextEncode", "text", "Positive"),),
        "negative": (Pin("CLIPTextEncode", "text", "Negative"),),
        "frames": (Pin(latent, "length"),),
        "width": (Pin(latent, "width"),),
        "height": (Pin(latent, "height"),),
        "fps": (Pin("CreateVideo", "fps"),),
    }


def _two_passes(latent: str) -> dict[str, tuple[Pin, ...]]:
    """Pins where a model for high noise takes the first half of the steps, one for low noise the second."""
    high, low = ("add_noise", "enable"), ("add_noise", "disable")
    return {
        **_pins(latent),
        "seed": (Pin("KSamplerAdvanced", "noise_seed", given=high),),
        "cfg": (Pin("KSamplerAdvanced", "cfg"),),
        "steps": (Pin("KSamplerAdvanced", "steps"), Pin("KSamplerAdvanced", "end_at_step", given=low)),
        "split": (
            Pin("KSamplerAdvanced", "end_at_step", given=high),
            Pin("KSamplerAdvanced", "start_at_step", given=low),
        ),
    }


_TAKES = frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "frames", "fps", "loras"})
_FULL, _FAST = Defaults(832, 480, 81, 16.0, (10, 20, 40), 3.5), Defaults(832, 480, 81, 16.0, (4, 4, 8), 1.0)
_T2V_PINS, _I2V_PINS = _two_passes("EmptyHunyuanLatentVideo"), _two_passes("WanImageToVideo")
_I2V_PINS["image1"] = (Pin("LoadImage", "image"),)

_T2V = Recipe(
    name="wan22-text-to-video",
    title="Wan 2.2 14B: video from text",
    family="wan22",
    capabilities=frozenset({C.TEXT_TO_VIDEO}),
    source=Source(_TEXT),
    takes=_TAKES,
    make=official.made_from(_TEXT, _T2V_PINS),
    version="0.8.0",
    vram_gb=24,
    makes="video",
    size=WAN_SIZE,
    length=WAN,
    defaults=_FULL,
    urls=lambda: official.urls(_TEXT),
)
_I2V = replace(
    _T2V,
    name="wan22-image-to-video",
    title="Wan 2.2 14B: video from a picture",
    capabilities=frozenset({C.IMAGE_TO_VIDEO}),
    source=Source(_IMAGE),
    make=official.made_from(_IMAGE, _I2V_PINS),
    images=(1, 1),
    urls=lambda: official.urls(_IMAGE),
)
_SMALL_PINS = _pins("Wan22ImageToVideoLatent") | {
    "seed": (Pin("KSampler", "seed"),),
    "steps": (Pin("KSampler", "steps"),),
    "cfg": (Pin("KSampler", "cfg"),),
}

RECIPES = (
    _T2V,
    replace(
        _T2V,
        name="wan22-text-to-video-lightning",
        title="Wan 2.2 14B Lightning: video from text in 4 steps",
        make=official.made_from(_TEXT, _T2V_PINS, fast=True),
        defaults=_FAST,
        fast=True,
    ),
    _I2V,
    replace(
        _I2V,
        name="wan22-image-to-video-lightning",
        title="Wan 2.2 14B Lightning: video from a picture in 4 steps",
        make=official.made_from(_IMAGE, _I2V_PINS, fast=True),
        defaults=_FAST,
        fast=True,
    ),
    replace(
        _T2V,
        name="wan22-5b-text-to-video",
        title="Wan 2.2 5B: video from text",
        source=Source(_SMALL),
        make=official.made_from(_SMALL, _SMALL_PINS),
        vram_gb=12,
        size=WAN_5B_SIZE,
        defaults=Defaults(1280, 704, 121, 24.0, (12, 20, 40), 5.0),
        urls=lambda: official.urls(_SMALL),
    ),
    replace(
        _I2V,
        name="wan22-first-last-frame",
        title="Wan 2.2 Fun Inpaint: video between two pictures, in 4 steps",
        source=Source(_ENDS),
        make=official.made_from(
            _ENDS,
            _two_passes("WanFunInpaintToVideo")
            | {
                "image1": (Pin("LoadImage", "image", role="start_image"),),
                "image2": (Pin("LoadImage", "image", role="end_image"),),
            },
        ),
        defaults=_FAST,
        images=(2, 2),
        fast=True,
        urls=lambda: official.urls(_ENDS),
    ),
)
