"""Videos made larger picture by picture."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_TEMPLATE = "utility-gan_upscaler"

RECIPES = (
    Recipe(
        name="upscale-video",
        title="Upscaling of a video, picture by picture",
        family="upscaler",
        capabilities=frozenset({C.SUPER_RESOLUTION}),
        source=Source(_TEMPLATE),
        takes=frozenset({"video"}),
        make=official.made_from(_TEMPLATE, {"video": (Pin("LoadVideo", "file"),)}),
        version="0.8.0",
        vram_gb=4,
        makes="video",
        needs=frozenset({"video"}),
        urls=lambda: official.urls(_TEMPLATE),
    ),
)
