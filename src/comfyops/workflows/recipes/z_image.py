"""Z-Image: turbo in 8 steps, and the base model."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import IMAGE_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_TURBO, _BASE = "image_z_image_turbo", "image_z_image"
_PINS = {
    "prompt": (Pin("CLIPTextEncode", "text", role="positive"),),
    "seed": (Pin("KSampler", "seed"),),
    "steps": (Pin("KSampler", "steps"),),
    "cfg": (Pin("KSampler", "cfg"),),
    "width": (Pin("EmptySD3LatentImage", "width"),),
    "height": (Pin("EmptySD3LatentImage", "height"),),
}
_TAKES = frozenset({"prompt", "seed", "steps", "cfg", "width", "height", "loras"})

RECIPES = (
    Recipe(
        name="z-image-turbo",
        title="Z-Image Turbo: text to image in 8 steps",
        family="z-image",
        capabilities=frozenset({C.TEXT_TO_IMAGE}),
        source=Source(_TURBO),
        takes=_TAKES,
        make=official.made_from(_TURBO, _PINS),
        version="0.8.0",
        vram_gb=16,
        size=IMAGE_SIZE,
        defaults=Defaults(1024, 1024, steps=(6, 8, 12), cfg=1.0),
        fast=True,
        urls=lambda: official.urls(_TURBO),
    ),
    Recipe(
        name="z-image",
        title="Z-Image: text to image",
        family="z-image",
        capabilities=frozenset({C.TEXT_TO_IMAGE}),
        source=Source(_BASE),
        takes=_TAKES | {"negative"},
        make=official.made_from(_BASE, {**_PINS, "negative": (Pin("CLIPTextEncode", "text", role="negative"),)}),
        version="0.33.0",
        vram_gb=16,
        size=IMAGE_SIZE,
        defaults=Defaults(1024, 1024, steps=(12, 25, 50), cfg=4.0),
        urls=lambda: official.urls(_BASE),
    ),
)
