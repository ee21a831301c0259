"""Qwen-Image-Edit 2509: one to three pictures edited by words, in 4 steps by Lightning, and relighting."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.lengths import IMAGE_SIZE
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import official, parts, qwen_image
from comfyops.workflows.recipes.recipe import Defaults, Lora, Make, Recipe, Source, Values
from comfyops.workflows.recipes.shaping import Pin

LIGHTNING = Lora("Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors")
_RELIGHT = "image_qwen_image_edit_2509_relight"


def _edit(fast: bool) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        loras = (LIGHTNING, *values.loras) if fast else values.loras
        main = values.model or "qwen_image_edit_2509_fp8_e4m3fn.safetensors"
        model, clip, vae = qwen_image.opened(builder, main, loras, 3.0)
        model = builder.add("CFGNorm", model=model, strength=1.0)[0]
        pictures = [parts.picture(builder, name) for name in values.images]
        first = builder.add("FluxKontextImageScale", image=pictures[0])[0]
        pair = _encoded(builder, values, clip, vae, (first, *pictures[1:]))
        samples = parts.sampled(
            builder, values, model, pair, _start(builder, values, first, vae), sampler="euler", scheduler="simple"
        )
        parts.saved(builder, builder.add("VAEDecode", samples=samples, vae=vae)[0], values)
        return builder.build()

    return make


def _encoded(builder: GraphBuilder, values: Values, clip: Link, vae: Link, pictures: tuple[Link, ...]) -> parts.Pair:
    images = {f"image{number}": image for number, image in enumerate(pictures, 1)}
    texts = (("Positive prompt", values.prompt), ("Negative prompt", values.negative or ""))
    nodes = [
        builder.add("TextEncodeQwenImageEditPlus", title, clip=clip, vae=vae, prompt=text, **images)
        for title, text in texts
    ]
    return nodes[0][0], nodes[1][0]


def _start(builder: GraphBuilder, values: Values, first: Link, vae: Link) -> Link:
    """An empty latent in the wanted size, else one like the first picture."""
    if values.width and values.height:
        return builder.add("EmptySD3LatentImage", width=values.width, height=values.height, batch_size=1)[0]
    return builder.add("VAEEncode", pixels=first, vae=vae)[0]


_EDIT = Recipe(
    name="qwen-image-edit",
    title="Qwen-Image-Edit 2509: one to three pictures edited",
    family="qwen-image-edit",
    capabilities=frozenset({C.IMAGE_EDITING}),
    source=Source(reason="the official template has a fixed number of pictures; here there are one to three"),
    takes=frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "model", "loras"}),
    make=_edit(False),
    version="0.8.0",
    vram_gb=24,
    size=IMAGE_SIZE,
    defaults=Defaults(steps=(10, 20, 40), cfg=4.0),
    images=(1, 3),
)

RECIPES = (
    _EDIT,
    replace(
        _EDIT,
        name="qwen-image-edit-lightning",
        title="Qwen-Image-Edit 2509 Lightning: pictures edited in 4 steps",
        make=_edit(True),
        defaults=Defaults(steps=(4, 4, 8), cfg=1.0),
        fast=True,
    ),
    Recipe(
        name="qwen-image-relight",
        title="Qwen-Image-Edit 2509 Relight: a picture in another light",
        family="qwen-image-edit",
        capabilities=frozenset({C.IMAGE_RELIGHTING}),
        source=Source(_RELIGHT),
        takes=frozenset({"prompt", "seed", "steps", "cfg", "loras"}),
        make=official.made_from(
            _RELIGHT,
            {
                "prompt": (Pin("PrimitiveStringMultiline", "value", "Prompt"),),
                "seed": (Pin("KSampler", "seed"),),
                "steps": (Pin("KSampler", "steps"),),
                "cfg": (Pin("KSampler", "cfg"),),
                "image1": (Pin("LoadImage", "image"),),
            },
        ),
        version="0.8.0",
        vram_gb=24,
        defaults=Defaults(steps=(4, 4, 8), cfg=1.0),
        images=(1, 1),
        urls=lambda: official.urls(_RELIGHT),
    ),
)
