"""Wan 2.2 VACE Fun: a video changed inside masks in two stages, one model for high noise and one for low noise."""

from __future__ import annotations

from types import MappingProxyType

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Added, Graph, GraphBuilder, Link
from comfyops.workflows.lengths import WAN, WAN_SIZE
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import parts
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source, Values
from comfyops.workflows.recipes.wan_vace import conditioned

_HIGH, _LOW = (f"wan2.2_fun_vace_{noise}_noise_14B_fp8_scaled.safetensors" for noise in ("high", "low"))
_REPOSITORY = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/diffusion_models/"
_URLS = MappingProxyType({name: _REPOSITORY + name for name in (_HIGH, _LOW)})


def _make(values: Values, types: NodeTypes) -> Graph:
    builder = GraphBuilder()
    loaded = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=values.video)[0])
    masks = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=values.masks)[0])
    where = builder.add("ImageToMask", image=masks[0], channel="red")[0]
    vae = builder.add("VAELoader", vae_name="wan_2.1_vae.safetensors")[0]
    vace = conditioned(builder, values, loaded[0], where, vae)
    samples = _in_two_stages(builder, values, vace)
    trimmed = builder.add("TrimVideoLatent", samples=samples, trim_amount=vace[3])[0]
    made = builder.add("VAEDecode", samples=trimmed, vae=vae)[0]
    parts.saved_video(builder, parts.repainted(builder, loaded[0], made, where), values, loaded[1])
    return builder.build()


def _in_two_stages(builder: GraphBuilder, values: Values, vace: Added) -> Link:
    """The first half of the steps by the model for high noise, the rest by the one for low noise, as in Wan 2.2."""
    steps = values.steps or 20
    split = max(steps // 2, 1)
    first = _stage(builder, values, _HIGH, vace, vace[2], (0, split, steps))
    return _stage(builder, values, _LOW, vace, first, (split, 10_000, steps))


def _stage(
    builder: GraphBuilder, values: Values, model_name: str, vace: Added, latent: Link, span: tuple[int, int, int]
) -> Link:
    """One stage: from step to step of all; only the first adds noise, only the last leaves none."""
    start, end, steps = span
    model = builder.add("UNETLoader", unet_name=model_name, weight_dtype="default")[0]
    for lora in values.loras:
        model = builder.add("LoraLoaderModelOnly", model=model, lora_name=lora.name, strength_model=lora.strength)[0]
    return builder.add(
        "KSamplerAdvanced",
        model=builder.add("ModelSamplingSD3", model=model, shift=5.0)[0],
        positive=vace[0],
        negative=vace[1],
        latent_image=latent,
        add_noise="enable" if start == 0 else "disable",
        noise_seed=values.seed,
        steps=steps,
        cfg=values.cfg,
        sampler_name="uni_pc",
        scheduler="simple",
        start_at_step=start,
        end_at_step=end,
        return_with_leftover_noise="enable" if start == 0 else "disable",
    )[0]


RECIPES = (
    Recipe(
        name="wan22-vace-inpainting",
        title="Wan 2.2 VACE Fun 14B: a video changed inside its masks, in two stages",
        family="wan22-vace",
        capabilities=frozenset({C.VIDEO_INPAINTING}),
        source=Source(reason="no official template joins Wan 2.2's two stages with a mask for each frame"),
        takes=frozenset(
            {"prompt", "negative", "seed", "steps", "cfg", "width", "height", "frames", "fps", "strength"}
            | {"video", "masks", "loras"}
        ),
        make=_make,
        version="0.8.0",
        vram_gb=24,
        makes="video",
        size=WAN_SIZE,
        length=WAN,
        defaults=Defaults(832, 480, 81, 16.0, (8, 20, 40), 3.5, 1.0),
        images=(0, 1),
        needs=frozenset({"video", "masks"}),
        urls=lambda: _URLS,
    ),
)
