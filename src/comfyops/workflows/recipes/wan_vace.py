"""Wan VACE: a video changed inside masks, one mask for each frame."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Added, Graph, GraphBuilder, Link
from comfyops.workflows.lengths import WAN, WAN_SIZE
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import parts
from comfyops.workflows.recipes.recipe import Defaults, Lora, Make, Recipe, Source, Values

_CAUSVID = Lora("Wan21_CausVid_14B_T2V_lora_rank32.safetensors", 0.3)


def _inpainting(fast: bool) -> Make:
    def make(values: Values, types: NodeTypes) -> Graph:
        builder = GraphBuilder()
        loaded = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=values.video)[0])
        masks = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=values.masks)[0])
        where = builder.add("ImageToMask", image=masks[0], channel="red")[0]
        made = _made(builder, values, loaded[0], where, fast)
        parts.saved_video(builder, parts.repainted(builder, loaded[0], made, where), values, loaded[1])
        return builder.build()

    return make


def _made(builder: GraphBuilder, values: Values, frames: Link, where: Link, fast: bool) -> Link:
    """The frames made anew inside the masks."""
    name = values.model or "wan2.1_vace_14B_fp16.safetensors"
    model = builder.add("UNETLoader", unet_name=name, weight_dtype="default")[0]
    for lora in (_CAUSVID, *values.loras) if fast else values.loras:
        model = builder.add("LoraLoaderModelOnly", model=model, lora_name=lora.name, strength_model=lora.strength)[0]
    model = builder.add("ModelSamplingSD3", model=model, shift=5.0)[0]
    vae = builder.add("VAELoader", vae_name="wan_2.1_vae.safetensors")[0]
    vace = conditioned(builder, values, frames, where, vae)
    whole = replace(values, strength=None)
    samples = parts.sampled(builder, whole, model, (vace[0], vace[1]), vace[2], sampler="uni_pc", scheduler="simple")
    trimmed = builder.add("TrimVideoLatent", samples=samples, trim_amount=vace[3])[0]
    return builder.add("VAEDecode", samples=trimmed, vae=vae)[0]


def conditioned(builder: GraphBuilder, values: Values, frames: Link, where: Link, vae: Link) -> Added:
    """What VACE is guided by: prompts, the video, its masks, a reference picture if there is one."""
    clip = builder.add("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan")[0]
    pair = parts.encoded(builder, clip, values)
    pictures = {"reference_image": parts.picture(builder, values.images[0])} if values.images else {}
    return builder.add(
        "WanVaceToVideo",
        positive=pair[0],
        negative=pair[1],
        vae=vae,
        width=values.width,
        height=values.height,
        length=values.frames,
        batch_size=1,
        strength=values.strength,
        control_video=frames,
        control_masks=where,
        **pictures,
    )


_FULL = Recipe(
    name="wan-vace-inpainting",
    title="Wan 2.1 VACE 14B: a video changed inside its masks",
    family="wan-vace",
    capabilities=frozenset({C.VIDEO_INPAINTING}),
    source=Source(reason="the official template finds its mask by words; here there is a mask for each frame"),
    takes=frozenset(
        {"prompt", "negative", "seed", "steps", "cfg", "width", "height", "frames", "fps", "strength"}
        | {"video", "masks", "model", "loras"}
    ),
    make=_inpainting(False),
    version="0.8.0",
    vram_gb=32,
    makes="video",
    size=WAN_SIZE,
    length=WAN,
    defaults=Defaults(832, 480, 81, 16.0, (10, 20, 40), 6.0, 1.0),
    images=(0, 1),
    needs=frozenset({"video", "masks"}),
)

RECIPES = (
    _FULL,
    replace(
        _FULL,
        name="wan-vace-inpainting-fast",
        title="Wan 2.1 VACE 14B with CausVid: a video changed inside its masks in 6 steps",
        make=_inpainting(True),
        defaults=Defaults(832, 480, 81, 16.0, (6, 6, 10), 1.0, 1.0),
        fast=True,
    ),
)
