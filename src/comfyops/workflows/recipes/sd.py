"""Stable Diffusion 1.5 and XL from one checkpoint file, and upscaling of pictures."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.lengths import CELLS_8
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import parts
from comfyops.workflows.recipes.recipe import Defaults, Make, Recipe, Source, Values

_CORE = "the core must draw without the templates extra; the same graph in parts serves both families"
_TAKES = frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "model", "loras"})
_CONTROLS = {"sd15": "control_v11p_sd15_canny_fp16.safetensors", "sdxl": "controlnet-canny-sdxl-1.0.safetensors"}
_CHECKPOINTS = {"sd15": "v1-5-pruned-emaonly-fp16.safetensors", "sdxl": "sd_xl_base_1.0.safetensors"}


def _opened(builder: GraphBuilder, values: Values, family: str) -> tuple[Link, parts.Pair, Link]:
    """Model, both prompts, VAE."""
    loader = builder.add("CheckpointLoaderSimple", ckpt_name=values.model or _CHECKPOINTS[family])
    model, clip = loader[0], loader[1]
    for lora in values.loras:
        added = builder.add(
            "LoraLoader",
            model=model,
            clip=clip,
            lora_name=lora.name,
            strength_model=lora.strength,
            strength_clip=lora.strength,
        )
        model, clip = added[0], added[1]
    return model, parts.encoded(builder, clip, values), loader[2]


def _closed(builder: GraphBuilder, values: Values, model: Link, pair: parts.Pair, latent: Link, vae: Link) -> Link:
    samples = parts.sampled(builder, values, model, pair, latent, sampler="dpmpp_2m", scheduler="karras")
    return builder.add("VAEDecode", samples=samples, vae=vae)[0]


def _text_to_image(family: str) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, pair, vae = _opened(builder, values, family)
        latent = builder.add("EmptyLatentImage", width=values.width, height=values.height, batch_size=1)[0]
        parts.saved(builder, _closed(builder, values, model, pair, latent, vae), values)
        return builder.build()

    return make


def _image_to_image(family: str) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, pair, vae = _opened(builder, values, family)
        image = parts.picture(builder, values.images[0], values)
        latent = builder.add("VAEEncode", pixels=image, vae=vae)[0]
        parts.saved(builder, _closed(builder, values, model, pair, latent, vae), values)
        return builder.build()

    return make


def _inpainting(family: str) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, pair, vae = _opened(builder, values, family)
        image = parts.picture(builder, values.images[0], values)
        where = parts.mask(builder, values.mask, values)
        encoded = builder.add("VAEEncode", pixels=image, vae=vae)[0]
        latent = builder.add("SetLatentNoiseMask", samples=encoded, mask=where)[0]
        made = _closed(builder, values, model, pair, latent, vae)
        parts.saved(builder, parts.repainted(builder, image, made, where), values)
        return builder.build()

    return make


def _controlnet(family: str) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        model, pair, vae = _opened(builder, values, family)
        control = builder.add("ControlNetLoader", control_net_name=values.control or _CONTROLS[family])[0]
        pair = parts.guided(builder, values, pair, control, vae, 1.0 if values.strength is None else values.strength)
        latent = builder.add("EmptyLatentImage", width=values.width, height=values.height, batch_size=1)[0]
        parts.saved(builder, _closed(builder, replace(values, strength=None), model, pair, latent, vae), values)
        return builder.build()

    return make


def _upscale(values: Values, types: NodeTypes) -> Graph:
    builder = GraphBuilder()
    loader = builder.add("UpscaleModelLoader", model_name=values.model or "RealESRGAN_x4plus.safetensors")
    image = parts.picture(builder, values.images[0])
    made = builder.add("ImageUpscaleWithModel", upscale_model=loader[0], image=image)[0]
    parts.saved(builder, parts.scaled(builder, made, values) if values.width else made, values)
    return builder.build()


def _family(family: str, title: str, side: int, vram: int) -> tuple[Recipe, ...]:
    own = Defaults(side, side, steps=(15, 25, 40), cfg=7.0 if family == "sd15" else 6.5)
    text = Recipe(
        name=f"{family}-text-to-image",
        title=f"{title}: text to image",
        family=family,
        capabilities=frozenset({C.TEXT_TO_IMAGE}),
        source=Source(reason=_CORE),
        takes=_TAKES,
        make=_text_to_image(family),
        version="0.8.0",
        vram_gb=vram,
        size=CELLS_8,
        defaults=own,
    )
    again = replace(
        text,
        name=f"{family}-image-to-image",
        title=f"{title}: image to image",
        capabilities=frozenset({C.IMAGE_TO_IMAGE}),
        takes=_TAKES | {"strength"},
        make=_image_to_image(family),
        defaults=replace(own, strength=0.7),
        images=(1, 1),
    )
    inpainting = replace(
        again,
        name=f"{family}-inpainting",
        title=f"{title}: inpainting",
        capabilities=frozenset({C.INPAINTING}),
        takes=again.takes | {"mask"},
        make=_inpainting(family),
        defaults=replace(own, strength=1.0),
        needs=frozenset({"mask"}),
    )
    controlnet = replace(
        again,
        name=f"{family}-controlnet",
        title=f"{title}: ControlNet",
        capabilities=frozenset({C.CONTROLNET, C.TEXT_TO_IMAGE}),
        takes=again.takes | {"control", "guide"},
        make=_controlnet(family),
        defaults=replace(own, strength=1.0),
    )
    return text, again, inpainting, controlnet


RECIPES = (
    *_family("sdxl", "Stable Diffusion XL", 1024, 12),
    *_family("sd15", "Stable Diffusion 1.5", 512, 6),
    Recipe(
        name="upscale-image",
        title="Upscaling of a picture",
        family="upscaler",
        capabilities=frozenset({C.SUPER_RESOLUTION}),
        source=Source(reason="the official template upscales videos only; for one picture it is four nodes"),
        takes=frozenset({"model", "width", "height"}),
        make=_upscale,
        version="0.8.0",
        vram_gb=4,
        images=(1, 1),
    ),
)
