"""Stable Diffusion XL."""

from __future__ import annotations

from comfyops.storyboard.families import checkpoint
from comfyops.storyboard.families.family import Family

_PREFERRED = ("sd_xl_base_1.0.safetensors", "sd_xl_base_1.0_0.9vae.safetensors")

FAMILY = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    needs=f"checkpoints/{_PREFERRED[0]}",
    pixels=1024 * 1024,
    multiple=64,
    steps=30,
    cfg=6.5,
    sampler="dpmpp_2m",
    scheduler="karras",
    claims=checkpoint.is_sdxl,
    choose=checkpoint.chooser("SDXL", checkpoint.is_sdxl, _PREFERRED),
    build=checkpoint.build,
)
