"""Wan Alpha: video with transparency from text. Frames come as colours and alpha, in an animated WebP."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import WAN, WAN_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_TEMPLATE = "video_wan2.1_alpha_t2v_14B"

RECIPES = (
    Recipe(
        name="wan-alpha",
        title="Wan Alpha: video with transparency from text",
        family="wan-alpha",
        capabilities=frozenset({C.ALPHA_VIDEO, C.TEXT_TO_VIDEO}),
        source=Source(_TEMPLATE),
        takes=frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "frames", "fps", "loras"}),
        make=official.made_from(
            _TEMPLATE,
            {
                "prompt": (Pin("CLIPTextEncode", "text", "Positive"),),
                "negative": (Pin("CLIPTextEncode", "text", "Negative"),),
                "seed": (Pin("KSampler", "seed"),),
                "steps": (Pin("KSampler", "steps"),),
                "cfg": (Pin("KSampler", "cfg"),),
                "frames": (Pin("EmptyHunyuanLatentVideo", "length"),),
                "width": (Pin("EmptyHunyuanLatentVideo", "width"),),
                "height": (Pin("EmptyHunyuanLatentVideo", "height"),),
                "fps": (Pin("SaveAnimatedWEBP", "fps"),),
            },
        ),
        version="0.8.0",
        vram_gb=24,
        makes="video",
        size=WAN_SIZE,
        length=WAN,
        defaults=Defaults(832, 480, 33, 16.0, (10, 20, 40), 6.0),
        urls=lambda: official.urls(_TEMPLATE),
    ),
)
