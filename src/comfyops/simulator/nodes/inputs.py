"""Pictures from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall, NodeFunction
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.places import input_path

if TYPE_CHECKING:
    from comfyops.simulator.values import Array


def load_image(call: NodeCall, image: str) -> tuple[Array, Array]:
    """LoadImage: the pictures of a file and their masks; an animated file gives a batch."""
    return media.load_pictures(input_path(call.host, image))


def load_image_output(call: NodeCall, image: str) -> tuple[Array, Array]:
    """LoadImageOutput: the same from the output folder, also without " [output]"."""
    return media.load_pictures(input_path(call.host, image, "output"))


def load_image_mask(call: NodeCall, image: str, channel: str) -> Array:
    """LoadImageMask: one channel; alpha turned round, zeros of 64 x 64 where the file has none."""
    path = input_path(call.host, image)
    if channel == "alpha" and not media.has_alpha(path):
        return np.zeros((1, 64, 64), dtype=np.float32)
    return media.load_channel(path, channel)


NODES: dict[str, NodeFunction] = {
    "LoadImage": computed(load_image),
    "LoadImageOutput": computed(load_image_output),
    "LoadImageMask": computed(load_image_mask),
}
