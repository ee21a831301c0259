"""FLUX.2: dev (also with its turbo LoRA) and klein; pictures from text, and pictures edited."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import IMAGE_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_DEV, _KLEIN = "image_flux2_text_to_image", "image_flux2_klein_text_to_image"
_KLEIN_EDIT = "image_flux2_klein_image_edit_4b_distilled"

_SIZE = {side: (Pin("EmptyFlux2LatentImage", side), Pin("Flux2Scheduler", side)) for side in ("width", "height")}
_PINS = {
    "prompt": (Pin("CLIPTextEncode", "text", "Positive"),),
    "seed": (Pin("RandomNoise", "noise_seed"),),
    "steps": (Pin("Flux2Scheduler", "steps"),),
    **_SIZE,
}
_TAKES = frozenset({"prompt", "seed", "steps", "cfg", "width", "height", "loras"})
_NEGATIVE = {"negative": (Pin("CLIPTextEncode", "text", "Negative"),)}

_TEXT = Recipe(
    name="flux2-dev",
    title="FLUX.2 dev: text to image",
    family="flux2",
    capabilities=frozenset({C.TEXT_TO_IMAGE}),
    source=Source(_DEV),
    takes=_TAKES,
    make=official.made_from(_DEV, {**_PINS, "cfg": (Pin("FluxGuidance", "guidance"),)}),
    version="0.8.0",
    vram_gb=48,
    size=IMAGE_SIZE,
    defaults=Defaults(1024, 1024, steps=(12, 20, 50), cfg=4.0),
    urls=lambda: official.urls(_DEV),
)

RECIPES = (
    _TEXT,
    replace(
        _TEXT,
        name="flux2-dev-turbo",
        title="FLUX.2 dev with the turbo LoRA: text to image in 8 steps",
        make=official.made_from(_DEV, {**_PINS, "cfg": (Pin("FluxGuidance", "guidance"),)}, fast=True),
        defaults=Defaults(1024, 1024, steps=(8, 8, 12), cfg=4.0),
        fast=True,
    ),
    replace(
        _TEXT,
        name="flux2-klein",
        title="FLUX.2 klein 4B: text to image",
        source=Source(_KLEIN),
        takes=_TAKES | {"negative"},
        make=official.made_from(_KLEIN, {**_PINS, **_NEGATIVE, "cfg": (Pin("CFGGuider", "cfg"),)}),
        version="0.9.0",
        vram_gb=16,
        defaults=Defaults(1024, 1024, steps=(12, 20, 50), cfg=5.0),
        urls=lambda: official.urls(_KLEIN),
    ),
    replace(
        _TEXT,
        name="flux2-klein-edit",
        title="FLUX.2 klein 4B distilled: a picture edited in 4 steps",
        capabilities=frozenset({C.IMAGE_EDITING}),
        source=Source(_KLEIN_EDIT),
        takes=_TAKES - {"cfg"},
        make=official.made_from(_KLEIN_EDIT, {**_PINS, "image1": (Pin("LoadImage", "image"),)}),
        version="0.9.0",
        vram_gb=16,
        defaults=Defaults(steps=(4, 4, 8)),
        images=(1, 1),
        fast=True,
        urls=lambda: official.urls(_KLEIN_EDIT),
    ),
)
