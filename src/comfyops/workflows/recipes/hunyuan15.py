"""HunyuanVideo 1.5: video from text or a picture, with or without its super-resolution; any video made larger."""

from __future__ import annotations

from dataclasses import replace

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.lengths import HUNYUAN_SIZE, HUNYUAN_VIDEO
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import official, parts
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source, Values
from comfyops.workflows.recipes.shaping import Pin

_TEXT, _IMAGE = "video_hunyuan_video_1.5_720p_t2v", "video_hunyuan_video_1.5_720p_i2v"
_UPSCALED_PART = (111, 108, 109, 113, 114, 117, 118, 133, 134, 135, 136, 137, 139, 140, 141, 142, 143)
"""Nodes of the text template that are bypassed in it: latent upscaler and distilled super-resolution model."""


def _pins(latent: str) -> dict[str, tuple[Pin, ...]]:
    return {
        "prompt": (Pin("CLIPTextEncode", "text", "Positive"),),
        "negative": (Pin("CLIPTextEncode", "text", "Negative"),),
        "seed": (Pin("RandomNoise", "noise_seed"),),
        "frames": (Pin(latent, "length"),),
        "width": (Pin(latent, "width"),),
        "height": (Pin(latent, "height"),),
        "fps": (Pin("CreateVideo", "fps"),),
        "steps": (Pin("BasicScheduler", "steps"),),
        "cfg": (Pin("CFGGuider", "cfg"),),
    }


def _upscaled(values: Values, types: NodeTypes) -> Graph:
    """The text template with its bypassed half: made at two thirds of the size, then brought to it."""
    graph = _MAKE_UPSCALED(replace(values, width=None, height=None, steps=None, cfg=None), types)
    width, height = HUNYUAN_SIZE.request(round((values.width or 0) / 1.5), round((values.height or 0) / 1.5))
    changes = (
        ("EmptyHunyuanVideo15Latent", {"width": width, "height": height}),
        ("HunyuanVideo15LatentUpscaleWithModel", {"width": values.width, "height": values.height}),
    )
    for class_type, sides in changes:
        for node in graph.of_class(class_type):
            for name, value in sides.items():
                graph = graph.with_input(node.id, name, value)
    graph = graph.with_input("128", "steps", values.steps)
    return graph.with_input("131", "cfg", values.cfg)


_MAKE_UPSCALED = official.made_from(_TEXT, _pins("EmptyHunyuanVideo15Latent"), enable=_UPSCALED_PART, saver="118")


def _super_resolution(values: Values, types: NodeTypes) -> Graph:
    """A given video, encoded, upscaled as a latent, and refined by the distilled model in the template's two passes."""
    builder = GraphBuilder()
    loaded = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=values.video)[0])
    vae = builder.add("VAELoader", vae_name="hunyuanvideo15_vae_fp16.safetensors")[0]
    upsampler = builder.add("LatentUpscaleModelLoader", model_name="hunyuanvideo15_latent_upsampler_1080p.safetensors")
    small = builder.add("VAEEncode", pixels=loaded[0], vae=vae)[0]
    large = builder.add(
        "HunyuanVideo15LatentUpscaleWithModel",
        model=upsampler[0],
        samples=small,
        upscale_method="bilinear",
        width=values.width,
        height=values.height,
        crop="disabled",
    )[0]
    made = builder.add("VAEDecode", samples=_refined(builder, values, large), vae=vae)[0]
    parts.saved_video(builder, made, values, loaded[1])
    return builder.build()


def _refined(builder: GraphBuilder, values: Values, latent: Link) -> Link:
    model = builder.add(
        "UNETLoader", unet_name="hunyuanvideo1.5_1080p_sr_distilled_fp16.safetensors", weight_dtype="default"
    )[0]
    clip = builder.add(
        "DualCLIPLoader",
        clip_name1="qwen_2.5_vl_7b_fp8_scaled.safetensors",
        clip_name2="byt5_small_glyphxl_fp16.safetensors",
        type="hunyuan_video_15",
    )[0]
    pair = parts.encoded(builder, clip, values)
    given = builder.add(
        "HunyuanVideo15SuperResolution", positive=pair[0], negative=pair[1], latent=latent, noise_augmentation=0.7
    )
    shifted = builder.add("ModelSamplingSD3", model=model, shift=2.0)[0]
    sigmas = builder.add("BasicScheduler", model=model, scheduler="simple", steps=values.steps, denoise=1.0)[0]
    halves = builder.add("SplitSigmas", sigmas=sigmas, step=(values.steps or 8) // 2)
    first = builder.add("CFGGuider", model=shifted, positive=given[0], negative=given[1], cfg=1.0)[0]
    second = builder.add("CFGGuider", model=model, positive=pair[0], negative=pair[1], cfg=1.0)[0]
    noise, none = builder.add("RandomNoise", noise_seed=values.seed)[0], builder.add("DisableNoise")[0]
    begun = _pass(builder, noise, first, halves[0], given[2])
    return _pass(builder, none, second, halves[1], begun)


def _pass(builder: GraphBuilder, noise: Link, guider: Link, sigmas: Link, latent: Link) -> Link:
    sampler = builder.add("KSamplerSelect", sampler_name="euler")[0]
    return builder.add(
        "SamplerCustomAdvanced", noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent
    )[0]


_TAKES = frozenset({"prompt", "negative", "seed", "steps", "cfg", "width", "height", "frames", "fps", "loras"})

_T2V = Recipe(
    name="hunyuan15-text-to-video",
    title="HunyuanVideo 1.5: video from text",
    family="hunyuan15",
    capabilities=frozenset({C.TEXT_TO_VIDEO}),
    source=Source(_TEXT),
    takes=_TAKES,
    make=official.made_from(_TEXT, _pins("EmptyHunyuanVideo15Latent")),
    version="0.8.0",
    vram_gb=24,
    makes="video",
    size=HUNYUAN_SIZE,
    length=HUNYUAN_VIDEO,
    defaults=Defaults(1280, 720, 121, 24.0, (12, 20, 50), 6.0),
    urls=lambda: official.urls(_TEXT),
)

RECIPES = (
    _T2V,
    replace(
        _T2V,
        name="hunyuan15-text-to-video-upscaled",
        title="HunyuanVideo 1.5: video from text, with super-resolution",
        capabilities=frozenset({C.TEXT_TO_VIDEO, C.SUPER_RESOLUTION}),
        make=_upscaled,
        defaults=Defaults(1920, 1080, 121, 24.0, (12, 20, 50), 6.0),
        vram_gb=32,
    ),
    replace(
        _T2V,
        name="hunyuan15-image-to-video",
        title="HunyuanVideo 1.5: video from a picture",
        capabilities=frozenset({C.IMAGE_TO_VIDEO}),
        source=Source(_IMAGE),
        make=official.made_from(_IMAGE, _pins("HunyuanVideo15ImageToVideo") | {"image1": (Pin("LoadImage", "image"),)}),
        images=(1, 1),
        urls=lambda: official.urls(_IMAGE),
    ),
    Recipe(
        name="hunyuan15-super-resolution",
        title="HunyuanVideo 1.5: a video made larger",
        family="hunyuan15",
        capabilities=frozenset({C.SUPER_RESOLUTION}),
        source=Source(reason="the official templates have it only behind their own making of a video"),
        takes=frozenset({"prompt", "negative", "seed", "steps", "width", "height", "fps", "video"}),
        make=_super_resolution,
        version="0.8.0",
        vram_gb=32,
        makes="video",
        size=HUNYUAN_SIZE,
        length=HUNYUAN_VIDEO,
        defaults=Defaults(1920, 1080, fps=24.0, steps=(8, 8, 12), enlarge=1.5),
        needs=frozenset({"video"}),
    ),
)
