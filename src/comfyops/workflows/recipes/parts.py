"""Parts of hand-written graphs that several families share."""

from __future__ import annotations

from comfyops.workflows.graph import Added, GraphBuilder, Link
from comfyops.workflows.recipes.recipe import Values

Pair = tuple[Link, Link]
"""Positive and negative conditioning."""


def encoded(builder: GraphBuilder, clip: Link, values: Values) -> Pair:
    """Both prompts, encoded."""
    positive = builder.add("CLIPTextEncode", "Positive prompt", text=values.prompt, clip=clip)
    negative = builder.add("CLIPTextEncode", "Negative prompt", text=values.negative or "", clip=clip)
    return positive[0], negative[0]


def sampled(
    builder: GraphBuilder, values: Values, model: Link, pair: Pair, latent: Link, *, sampler: str, scheduler: str
) -> Link:
    """A KSampler; `strength` is how much of a given picture is made anew."""
    node = builder.add(
        "KSampler",
        model=model,
        positive=pair[0],
        negative=pair[1],
        latent_image=latent,
        seed=values.seed,
        steps=values.steps,
        cfg=values.cfg,
        sampler_name=sampler,
        scheduler=scheduler,
        denoise=1.0 if values.strength is None else values.strength,
    )
    return node[0]


def picture(builder: GraphBuilder, name: str, values: Values | None = None) -> Link:
    """A picture from the server's input folder, in the size of the values where they are given."""
    loaded = builder.add("LoadImage", image=name)[0]
    if values is None or values.width is None:
        return loaded
    return scaled(builder, loaded, values)


def scaled(builder: GraphBuilder, image: Link, values: Values) -> Link:
    """Pictures in the wanted size, what does not fit cut off."""
    return builder.add(
        "ImageScale", image=image, upscale_method="lanczos", width=values.width, height=values.height, crop="center"
    )[0]


def mask(builder: GraphBuilder, name: str, values: Values) -> Link:
    """A mask from a picture in the server's input folder: white = change."""
    return builder.add("ImageToMask", image=picture(builder, name, values), channel="red")[0]


def repainted(builder: GraphBuilder, image: Link, made: Link, where: Link) -> Link:
    """The made pictures inside the mask, the original ones elsewhere."""
    return builder.add(
        "ImageCompositeMasked", destination=image, source=made, x=0, y=0, resize_source=True, mask=where
    )[0]


def guided(builder: GraphBuilder, values: Values, pair: Pair, control: Link, vae: Link | None, strength: float) -> Pair:
    """Both conditionings guided by the first picture, through Canny unless it is a guide already."""
    image = picture(builder, values.images[0], values)
    if values.guide != "none":
        image = builder.add("Canny", image=image, low_threshold=0.4, high_threshold=0.8)[0]
    given = {} if vae is None else {"vae": vae}
    node = builder.add(
        "ControlNetApplyAdvanced",
        positive=pair[0],
        negative=pair[1],
        control_net=control,
        image=image,
        strength=strength,
        start_percent=0.0,
        end_percent=1.0,
        **given,
    )
    return node[0], node[1]


def saved(builder: GraphBuilder, images: Link, values: Values) -> Added:
    """SaveImage."""
    return builder.add("SaveImage", images=images, filename_prefix=values.prefix)


def saved_video(builder: GraphBuilder, images: Link, values: Values, audio: Link | None = None) -> Added:
    """CreateVideo and SaveVideo: an MP4."""
    sound = {} if audio is None else {"audio": audio}
    video = builder.add("CreateVideo", images=images, fps=values.fps, **sound)
    return builder.add("SaveVideo", video=video[0], filename_prefix=values.prefix, format="auto", codec="auto")
