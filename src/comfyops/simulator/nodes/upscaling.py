"""Pictures made larger by a model: really scaled, and marked, since no model runs."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import numpy as np

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.draw import caption
from comfyops.simulator.nodes.resize import scaled
from comfyops.simulator.values import Thing, frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_FACTOR = re.compile(r"(?:^|[^0-9])([1248])x|x([1248])(?:[^0-9]|$)", re.IGNORECASE)


def factor_of(name: str) -> int:
    """How many times larger an upscale model makes a picture, by its file's name ("4x-UltraSharp"), else 4."""
    found = _FACTOR.search(name)
    return int(found.group(1) or found.group(2)) if found else 4


async def upscale(call: NodeCall) -> NodeResult:
    """ImageUpscaleWithModel."""
    model, image = call.inputs["upscale_model"], call.inputs["image"]
    name = model.files[0] if isinstance(model, Thing) and model.files else ""
    await call.host.pause(call.host.settings.seconds_per_step)
    await call.host.progress(1, 1)
    return NodeResult((await asyncio.to_thread(_larger, image, name),))


def _larger(image: Array, name: str) -> Array:
    factor = factor_of(name)
    large = np.clip(scaled(image, image.shape[2] * factor, image.shape[1] * factor, "bicubic"), 0, 1)
    return frozen_array(np.stack([caption(one[..., :3], f"upscaled {factor} times | {name}") for one in large]))


NODES: dict[str, NodeFunction] = {"ImageUpscaleWithModel": upscale}
