"""Sound and things in three dimensions, from official templates."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.recipes import official
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source
from comfyops.workflows.recipes.shaping import Pin

_SOUND, _SOLID = "audio_stable_audio_example", "3d_hunyuan3d_image_to_model"

RECIPES = (
    Recipe(
        name="stable-audio",
        title="Stable Audio Open: sound from text",
        family="stable-audio",
        capabilities=frozenset({C.TEXT_TO_AUDIO}),
        source=Source(_SOUND),
        takes=frozenset({"prompt", "negative", "seed", "steps", "cfg", "seconds"}),
        make=official.made_from(
            _SOUND,
            {
                "prompt": (Pin("CLIPTextEncode", "text", role="positive"),),
                "negative": (Pin("CLIPTextEncode", "text", role="negative"),),
                "seed": (Pin("KSampler", "seed"),),
                "steps": (Pin("KSampler", "steps"),),
                "cfg": (Pin("KSampler", "cfg"),),
                "seconds": (Pin("EmptyLatentAudio", "seconds"),),
            },
        ),
        version="0.33.0",
        vram_gb=8,
        makes="audio",
        defaults=Defaults(steps=(25, 50, 100), cfg=4.98),
        urls=lambda: official.urls(_SOUND),
    ),
)
