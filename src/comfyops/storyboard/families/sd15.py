"""Stable Diffusion 1.5. Checkpoints whose names tell no family count as this one too."""

from __future__ import annotations

from comfyops.storyboard.families import checkpoint
from comfyops.storyboard.families.family import Family

_PREFERRED = ("v1-5-pruned-emaonly-fp16.safetensors", "v1-5-pruned-emaonly.safetensors", "v1-5-pruned.safetensors")


def _claims(name: str) -> bool:
    return not checkpoint.is_other(name) and not checkpoint.is_sdxl(name)


FAMILY = Family(
    name="sd15",
    title="Stable Diffusion 1.5",
    needs=f"checkpoints/{_PREFERRED[0]}",
    pixels=512 * 512,
    multiple=64,
    steps=25,
    cfg=7.0,
    sampler="dpmpp_2m",
    scheduler="karras",
    claims=_claims,
    choose=checkpoint.chooser("Stable Diffusion 1.5", _claims, _PREFERRED),
    build=checkpoint.build,
)
