"""Qwen-Image: text to image (also by Lightning in 4 steps), image to image, ControlNet, inpainting, layers."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.lengths import IMAGE_SIZE
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import official, parts
from comfyops.workflows.recipes.recipe import Defaults, Lora, Make, Recipe, Source, Values
from comfyops.workflows.recipes.shaping import Pin

LIGHTNING = Lora("Qwen-Image-Lightning-4steps-V1.0.safetensors")
_CORE = "the core must draw without the templates extra"
_TAKES = frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "model", "loras"})


def opened(builder: GraphBuilder, main: str, loras: tuple[Lora, ...], shift: float) -> tuple[Link, Link, Link]:
    """Model, text encoder, VAE of the Qwen-Image family."""
    model = builder.add("UNETLoader", unet_name=main, weight_dtype="default")[0]
    for lora in loras:
        model = builder.add("LoraLoaderModelOnly", model=model, lora_name=lora.name, strength_model=lora.strength)[0]
    model = builder.add("ModelSamplingAuraFlow", model=model, shift=shift)[0]
    clip = builder.add("CLIPLoader", clip_name="qwen_2.5_vl_7b_fp8_scaled.safetensors", type="qwen_image")[0]
    return model, clip, builder.add("VAELoader", vae_name="qwen_image_vae.safetensors")[0]


def _opened(builder: GraphBuilder, values: Values, fast: bool) -> tuple[Link, Link, Link]:
    loras = (LIGHTNING, *values.loras) if fast else values.loras
    return opened(builder, values.model or "qwen_image_fp8_e4m3fn.safetensors", loras, 3.1)


def _closed(builder: GraphBuilder, values: Values, model: Link, pair: parts.Pair, latent: Link, vae: Link) -> Link:
    samples = parts.sampled(builder, values, model, pair, latent, sampler="euler", scheduler="simple")
    return builder.add("VAEDecode", samples=samples, vae=vae)[0]


def _empty(builder: GraphBuilder, values: Values) -> Link:
    return builder.add("EmptySD3LatentImage", width=values.width, height=values.height, batch_size=1)[0]


def _text_to_image(fast: bool) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, clip, vae = _opened(builder, values, fast)
        pair = parts.encoded(builder, clip, values)
        parts.saved(builder, _closed(builder, values, model, pair, _empty(builder, values), vae), values)
        return builder.build()

    return make


def _image_to_image(values: Values, types: NodeTypes) -> Graph:
    builder = GraphBuilder()
    model, clip, vae = _opened(builder, values, False)
    pair = parts.encoded(builder, clip, values)
    image = parts.picture(builder, values.images[0], values)
    latent = builder.add("VAEEncode", pixels=image, vae=vae)[0]
    parts.saved(builder, _closed(builder, values, model, pair, latent, vae), values)
    return builder.build()


def _controlnet(fast: bool) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, clip, vae = _opened(builder, values, fast)
        pair = parts.encoded(builder, clip, values)
        name = values.control or "Qwen-Image-InstantX-ControlNet-Union.safetensors"
        control = builder.add("ControlNetLoader", control_net_name=name)[0]
        pair = parts.guided(builder, values, pair, control, vae, 1.0 if values.strength is None else values.strength)
        whole = replace(values, strength=None)
        parts.saved(builder, _closed(builder, whole, model, pair, _empty(builder, values), vae), values)
        return builder.build()

    return make


def _inpainting(values: Values, types: NodeTypes) -> Graph:
    builder = GraphBuilder()
    model, clip, vae = _opened(builder, values, False)
    pair = parts.encoded(builder, clip, values)
    image = parts.picture(builder, values.images[0], values)
    where = parts.mask(builder, values.mask, values)
    encoded = builder.add("VAEEncode", pixels=image, vae=vae)[0]
    latent = builder.add("SetLatentNoiseMask", samples=encoded, mask=where)[0]
    made = _closed(builder, values, model, pair, latent, vae)
    parts.saved(builder, parts.repainted(builder, image, made, where), values)
    return builder.build()


_OWN = Defaults(1328, 1328, steps=(10, 20, 50), cfg=2.5)
_FAST = Defaults(1328, 1328, steps=(4, 4, 8), cfg=1.0)


def _layers() -> Make:
    pins = {
        "prompt": (Pin("PrimitiveStringMultiline", "value", "Prompt"),),
        "negative": (Pin("CLIPTextEncode", "text", "Negative"),),
        "seed": (Pin("KSampler", "seed"),),
        "steps": (Pin("KSampler", "steps"),),
        "cfg": (Pin("KSampler", "cfg"),),
        "image1": (Pin("LoadImage", "image"),),
        "layers": (Pin("EmptyQwenImageLayeredLatentImage", "layers"),),
    }
    return official.made_from("image_qwen_image_layered", pins)


_TEXT = Recipe(
    name="qwen-image",
    title="Qwen-Image: text to image",
    family="qwen-image",
    capabilities=frozenset({C.TEXT_TO_IMAGE}),
    source=Source(reason=_CORE),
    takes=_TAKES,
    make=_text_to_image(False),
    version="0.8.0",
    vram_gb=24,
    size=IMAGE_SIZE,
    defaults=_OWN,
)
_CONTROLLED = replace(
    _TEXT,
    name="qwen-image-controlnet",
    title="Qwen-Image: ControlNet (InstantX Union)",
    capabilities=frozenset({C.CONTROLNET, C.TEXT_TO_IMAGE}),
    takes=_TAKES | {"strength", "control", "guide"},
    make=_controlnet(False),
    defaults=replace(_OWN, strength=1.0),
    images=(1, 1),
)

RECIPES = (
    _TEXT,
    replace(
        _TEXT,
        name="qwen-image-lightning",
        title="Qwen-Image Lightning: text to image in 4 steps",
        make=_text_to_image(True),
        defaults=_FAST,
        fast=True,
    ),
    replace(
        _TEXT,
        name="qwen-image-to-image",
        title="Qwen-Image: image to image",
        capabilities=frozenset({C.IMAGE_TO_IMAGE}),
        takes=_TAKES | {"strength"},
        make=_image_to_image,
        defaults=replace(_OWN, strength=0.7),
        images=(1, 1),
    ),
    _CONTROLLED,
    replace(
        _CONTROLLED,
        name="qwen-image-controlnet-lightning",
        title="Qwen-Image Lightning: ControlNet in 4 steps",
        make=_controlnet(True),
        defaults=replace(_FAST, strength=1.0),
        fast=True,
    ),
    replace(
        _TEXT,
        name="qwen-image-inpainting",
        title="Qwen-Image: inpainting",
        capabilities=frozenset({C.INPAINTING}),
        takes=_TAKES | {"strength", "mask"},
        make=_inpainting,
        defaults=replace(_OWN, strength=1.0),
        images=(1, 1),
        needs=frozenset({"mask"}),
    ),
    Recipe(
        name="qwen-image-layered",
        title="Qwen-Image-Layered: a picture taken apart into layers with alpha",
        family="qwen-image",
        capabilities=frozenset({C.LAYERED_GENERATION}),
        source=Source("image_qwen_image_layered"),
        takes=frozenset({"prompt", "negative", "seed", "steps", "cfg", "layers", "loras"}),
        make=_layers(),
        version="0.6.0",
        vram_gb=48,
        defaults=Defaults(steps=(10, 20, 50), cfg=2.5),
        images=(1, 1),
        urls=lambda: official.urls("image_qwen_image_layered"),
    ),
)
