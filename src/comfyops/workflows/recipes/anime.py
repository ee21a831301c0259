"""Anime: NewBie-Image and Anima."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.lengths import IMAGE_SIZE
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_NEWBIE, _ANIMA = "image_newbieimage_exp0_1-t2i", "image_anima_preview"
_PINS = {
    "negative": (Pin("CLIPTextEncode", "text", "Negative"),),
    "seed": (Pin("KSampler", "seed"),),
    "steps": (Pin("KSampler", "steps"),),
    "cfg": (Pin("KSampler", "cfg"),),
}
_TAKES = frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "loras"})


def _sides(class_type: str) -> dict[str, tuple[Pin, ...]]:
    return {side: (Pin(class_type, side),) for side in ("width", "height")}


RECIPES = (
    Recipe(
        name="newbie-anime",
        title="NewBie-Image: anime from text",
        family="newbie",
        capabilities=frozenset({C.ANIME_GENERATION, C.TEXT_TO_IMAGE}),
        source=Source(_NEWBIE),
        takes=_TAKES,
        make=official.made_from(
            _NEWBIE,
            {
                **_PINS,
                **_sides("EmptySD3LatentImage"),
                "prompt": (Pin("PrimitiveStringMultiline", "value", "Caption"),),
            },
            constants=((Pin("PrimitiveStringMultiline", "value", "User Prompt"), ""),),
        ),
        version="0.8.0",
        vram_gb=16,
        size=IMAGE_SIZE,
        defaults=Defaults(1024, 1536, steps=(12, 20, 40), cfg=5.5),
        urls=lambda: official.urls(_NEWBIE),
    ),
    Recipe(
        name="anima",
        title="Anima: anime from text",
        family="anima",
        capabilities=frozenset({C.ANIME_GENERATION, C.TEXT_TO_IMAGE}),
        source=Source(_ANIMA),
        takes=_TAKES,
        make=official.made_from(
            _ANIMA,
            {**_PINS, **_sides("EmptyLatentImage"), "prompt": (Pin("CLIPTextEncode", "text", "Positive"),)},
        ),
        version="0.8.0",
        vram_gb=8,
        size=IMAGE_SIZE,
        defaults=Defaults(1024, 1024, steps=(15, 30, 50), cfg=4.0),
        urls=lambda: official.urls(_ANIMA),
    ),
)
