"""Latents in files: safetensors with ComfyUI's keys, and beside them what the simulator needs to decode them again."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, replace
from typing import Any

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.places import input_path, metadata, place_for
from comfyops.simulator.nodes.save import passed_on
from comfyops.simulator.nodes.three_d import safetensors
from comfyops.simulator.values import Latent, Layer

_KEY = "comfyops_latent"


def save_latent(call: NodeCall, samples: Latent, filename_prefix: str) -> NodeResult:
    """SaveLatent."""
    cells = (samples.batch, samples.channels, max(samples.height // 8, 1), max(samples.width // 8, 1))
    notes = metadata(call) | {_KEY: json.dumps(_described(samples))}
    data = safetensors(notes, {"latent_tensor": cells, "latent_format_version_0": (0,)})
    entry = place_for(call, filename_prefix).write(data, "latent")
    return passed_on(call, samples, {"latents": [entry]})


def _described(samples: Latent) -> dict[str, Any]:
    """A latent as JSON: sizes and sampler passes; pictures it was encoded from are not kept."""
    flat = replace(samples, pixels=None, mask=None, parts=(), layers=())
    layers = [asdict(replace(layer, guides=())) for layer in samples.layers]
    plain = {key: value for key, value in asdict(flat).items() if isinstance(value, int | float | str)}
    return {**plain, "layers": layers}


def load_latent(call: NodeCall, latent: str) -> Latent:
    """LoadLatent: one that SaveLatent of the simulator wrote, or the size of any other.

    Raises ValueError for a file that is not a saved latent.
    """
    data = input_path(call.host, latent).read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        cells = header["latent_tensor"]["shape"]
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{latent} is not a saved latent") from error
    kept = json.loads((header.get("__metadata__") or {}).get(_KEY, "null"))
    if not isinstance(kept, dict):
        return Latent(cells[-1] * 8, cells[-2] * 8, cells[0], channels=cells[1])
    layers = tuple(Layer(**layer) for layer in kept.pop("layers"))
    return Latent(**kept, layers=layers)


NODES: dict[str, NodeFunction] = {
    "SaveLatent": computed(save_latent),
    "LoadLatent": computed(load_latent),
}
