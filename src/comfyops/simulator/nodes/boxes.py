"""Parts of pictures: cut out by boxes or masks, boxes drawn, histograms, lists of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator.call import NodeFunction
from comfyops.simulator.nodes.define import computed, listed
from comfyops.simulator.nodes.resize import scaled

if TYPE_CHECKING:
    from comfyops.simulator.values import Array


def boxes_of(bboxes: Any) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of each box in one box, a list of them, or a list of such lists."""
    if isinstance(bboxes, Mapping):
        x, y, width, height = (int(bboxes.get(key, 0)) for key in ("x", "y", "width", "height"))
        return [(x, y, width, height)]
    return [box for item in bboxes or () for box in boxes_of(item)]


def crop_by_boxes(
    image: Array, bboxes: Any, output_width: int, output_height: int, padding: int = 0, keep_aspect: str = "stretch"
) -> Array:
    """CropByBBoxes: a box out of each picture, a little wider, in one size; the whole picture where there is none."""
    rows, columns = image.shape[1:3]
    cut = []
    boxes = boxes_of(bboxes) * (len(image) if isinstance(bboxes, Mapping) else 1)
    for number, (x, y, width, height) in enumerate(boxes):
        picture = image[number % len(image)][None]
        left, top = max(x - padding, 0), max(y - padding, 0)
        right, bottom = min(x + width + padding, columns), min(y + height + padding, rows)
        if right > left and bottom > top:
            cut.append(_fitted(picture[:, top:bottom, left:right], output_width, output_height, keep_aspect))
    return np.concatenate(cut or [_fitted(image[:1], output_width, output_height, keep_aspect)])


def _fitted(picture: Array, width: int, height: int, keep_aspect: str) -> Array:
    if keep_aspect != "pad":
        return scaled(picture, width, height, "bilinear")
    factor = min(width / picture.shape[2], height / picture.shape[1])
    wide, tall = max(round(picture.shape[2] * factor), 1), max(round(picture.shape[1] * factor), 1)
    canvas = np.zeros((len(picture), height, width, picture.shape[-1]), dtype=np.float32)
    top, left = (height - tall) // 2, (width - wide) // 2
    canvas[:, top : top + tall, left : left + wide] = scaled(picture, wide, tall, "bilinear")
    return canvas


def histogram(image: Array) -> tuple[list[int], ...]:
    """ImageHistogram: 256 counts each of all colours, luminance, red, green and blue of the first picture."""
    steps = np.clip(image[0, ..., :3] * np.float32(255), 0, 255).astype(np.int64)
    light = (image[0, ..., :3] @ np.asarray((0.2126, 0.7152, 0.0722), dtype=np.float32)) * np.float32(255)
    counted = [np.bincount(steps[..., channel].ravel(), minlength=256) for channel in range(3)]
    luminance = np.bincount(np.clip(light, 0, 255).astype(np.int64).ravel(), minlength=256)
    return tuple(counts.tolist() for counts in (np.sum(counted, axis=0), luminance, *counted))


def shuffle(images: list[Array], seed: list[int]) -> tuple[list[Array]]:
    """ShuffleDataset (in another order than torch's)."""
    singles = [picture[None] for batch in images for picture in batch]
    Random(seed[0]).shuffle(singles)
    return (singles,)


def merge_lists(images: list[Array]) -> tuple[list[Array]]:
    """MergeImageLists."""
    return ([picture[None] for batch in images for picture in batch],)


def deduplicate(images: list[Array], similarity_threshold: list[float]) -> tuple[list[Array]]:
    """ImageDeduplication: pictures whose 8 x 8 average hash agrees with an earlier one's are left out."""
    kept: list[Array] = []
    hashes: list[Any] = []
    for picture in (picture[None] for batch in images for picture in batch):
        small = scaled(picture[..., :3], 8, 8, "area").mean(axis=-1)
        bits = (small > small.mean()).ravel()
        if all((bits == other).mean() < similarity_threshold[0] for other in hashes):
            kept.append(picture)
            hashes.append(bits)
    return (kept,)


NODES: dict[str, NodeFunction] = {
    "CropByBBoxes": computed(crop_by_boxes),
    "ImageHistogram": computed(histogram),
    "ShuffleDataset": listed(shuffle),
    "MergeImageLists": listed(merge_lists),
    "ImageDeduplication": listed(deduplicate),
}
