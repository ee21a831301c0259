"""The graph of families whose models come as one checkpoint file: SD 1.5 and SDXL."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from comfyops.errors import StoryboardError
from comfyops.storyboard import model_files
from comfyops.storyboard.families import guides
from comfyops.storyboard.families.family import Draft, Models, Picture
from comfyops.storyboard.project import Settings
from comfyops.workflows.graph import Link
from comfyops.workflows.node_types import NodeTypes

_OTHERS = re.compile(
    r"flux|ltx|hunyuan|wan_?\d|sd_?3|sd3|stable_?audio|ace_?step|svd|cascade|stage_[abc]|aura|lumina|z_image|cosmos|mochi"
    r"|hidream|chroma|qwen|sv3d|zero123|v2-1|sd_?21|omnigen|kandinsky|refiner|inpaint"
)
"""Checkpoints that this graph does not suit."""


def is_other(name: str) -> bool:
    """Whether a checkpoint's name says that it is of no family here."""
    return _OTHERS.search(name) is not None


def is_sdxl(name: str) -> bool:
    """Whether a checkpoint's name says SDXL, or one of the large families of models made from it."""
    return not is_other(name) and re.search(r"xl|pony|illustrious|noobai|animagine", name) is not None


def chooser(
    title: str, fits: Callable[[str], bool], preferred: Sequence[str]
) -> Callable[[Settings, NodeTypes], Models]:
    """How such a family chooses its files."""

    def choose(settings: Settings, types: NodeTypes) -> Models:
        if settings.model:
            main: str | None = model_files.find(model_files.CHECKPOINT, settings.model, types)
        else:
            main = model_files.pick(model_files.CHECKPOINT, types, fits, preferred)
        if main is None:
            raise StoryboardError(
                f"The server has no {title} checkpoint.",
                hint=f"Put one, such as {preferred[0]}, into the server's models/checkpoints folder, or name one "
                "as `model`.",
            )
        return Models(main, model_files.find(model_files.VAE, settings.vae, types) if settings.vae else "")

    return choose


def build(draft: Draft, picture: Picture) -> str:
    """Checkpoint, VAE of its own, LoRAs, prompts, guides, sampler, decoder, saver: seven nodes at least."""
    loader = draft.add("CheckpointLoaderSimple", ckpt_name=picture.models.main)
    vae = draft.add("VAELoader", vae_name=picture.models.vae)[0] if picture.models.vae else loader[2]
    model, clip = _with_loras(draft, picture, loader[0], loader[1])
    if picture.clip_skip:
        clip = draft.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-picture.clip_skip)[0]
    positive = draft.add("CLIPTextEncode", "Positive prompt", text=picture.positive, clip=clip)[0]
    negative = draft.add("CLIPTextEncode", "Negative prompt", text=picture.negative, clip=clip)[0]
    positive, negative = guides.controlled(draft, picture, positive, negative)
    model = guides.adapted(draft, picture, model)
    start = guides.latent(draft, picture, vae, "EmptyLatentImage")
    return finish(draft, picture, model, (positive, negative), start, vae)


def finish(draft: Draft, picture: Picture, model: Link, conditioning: tuple[Link, Link], start: Link, vae: Link) -> str:
    """Sampler, decoder, saver; returns the saver's id."""
    sampled = draft.add(
        "KSampler",
        model=model,
        seed=picture.seed,
        steps=picture.steps,
        cfg=picture.cfg,
        sampler_name=picture.sampler,
        scheduler=picture.scheduler,
        positive=conditioning[0],
        negative=conditioning[1],
        latent_image=start,
        denoise=picture.reference.denoise if picture.reference else picture.denoise,
    )
    decoded = draft.add("VAEDecode", samples=sampled[0], vae=vae)
    return draft.add("SaveImage", images=decoded[0], filename_prefix=picture.prefix).id


def _with_loras(draft: Draft, picture: Picture, model: Link, clip: Link) -> tuple[Link, Link]:
    for lora in picture.loras:
        added = draft.add(
            "LoraLoader",
            model=model,
            clip=clip,
            lora_name=model_files.find(model_files.LORA, lora.name, draft.types),
            strength_model=lora.strength,
            strength_clip=lora.strength if lora.clip_strength is None else lora.clip_strength,
        )
        model, clip = added[0], added[1]
    return model, clip
