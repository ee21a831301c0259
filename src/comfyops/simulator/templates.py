"""The templates that a simulated server offers in the official page: two small workflows of our own, in UI format."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 315
_SLOTS: Mapping[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ((), ("MODEL", "CLIP", "VAE")),
    "CLIPTextEncode": ((("clip", "CLIP"),), ("CONDITIONING",)),
    "EmptyLatentImage": ((), ("LATENT",)),
    "KSampler": (
        (("model", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING"), ("latent_image", "LATENT")),
        ("LATENT",),
    ),
    "VAEDecode": ((("samples", "LATENT"), ("vae", "VAE")), ("IMAGE",)),
    "EmptyImage": ((), ("IMAGE",)),
    "ImageInvert": ((("image", "IMAGE"),), ("IMAGE",)),
    "SaveImage": ((("images", "IMAGE"),), ()),
}
"""Linked inputs and outputs of the classes used below: names and types."""


@dataclass(frozen=True)
class Part:
    """One node: its class, the values of its widgets, and (node number, output number) for each linked input."""

    class_type: str
    values: Sequence[Any] = ()
    links: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Template:
    """One workflow that the page offers."""

    title: str
    description: str
    parts: tuple[Part, ...]

    def workflow(self) -> dict[str, Any]:
        """It in UI format, its nodes in a row."""
        links: list[list[Any]] = []
        for target, part in enumerate(self.parts, start=1):
            for slot, (source, output) in enumerate(part.links):
                kind = _SLOTS[part.class_type][0][slot][1]
                links.append([len(links) + 1, source, output, target, slot, kind])
        nodes = [_node(number, part, links) for number, part in enumerate(self.parts, start=1)]
        last = {"last_node_id": len(nodes), "last_link_id": len(links)}
        return {**last, "nodes": nodes, "links": links, "groups": [], "config": {}, "extra": {}, "version": 0.4}


def text_to_image(checkpoint: str) -> Template:
    """Text to picture with a checkpoint, the smallest workflow that samples."""
    parts = (
        Part("CheckpointLoaderSimple", [checkpoint]),
        Part("CLIPTextEncode", ["a lighthouse at dusk, long exposure"], [(1, 1)]),
        Part("CLIPTextEncode", ["text, watermark"], [(1, 1)]),
        Part("EmptyLatentImage", [512, 512, 1]),
        Part("KSampler", [1, "fixed", 8, 7.0, "euler", "normal", 1.0], [(1, 0), (2, 0), (3, 0), (4, 0)]),
        Part("VAEDecode", [], [(5, 0), (1, 2)]),
        Part("SaveImage", ["simulated"], [(6, 0)]),
    )
    return Template("Simulated text to image", "A picture that the simulator draws.", parts)


def inverted() -> Template:
    """A computed picture: no model is needed."""
    parts = (
        Part("EmptyImage", [256, 256, 1, 16711680]),
        Part("ImageInvert", [], [(1, 0)]),
        Part("SaveImage", ["inverted"], [(2, 0)]),
    )
    return Template("Inverted colour", "Needs no model: computed for real.", parts)


def templates(models: Mapping[str, Sequence[str]]) -> dict[str, Template]:
    """Name -> template; those that the inventory has models for."""
    found = {"simulated_inverted_colour": inverted()}
    checkpoints = models.get("checkpoints") or ()
    if checkpoints:
        preferred = [name for name in checkpoints if name.startswith("v1-5")]
        found = {"simulated_text_to_image": text_to_image((preferred or list(checkpoints))[0]), **found}
    return found


def index(found: Mapping[str, Template]) -> list[dict[str, Any]]:
    """The list of templates as the page wants it."""
    entries = [
        {
            "name": name,
            "title": template.title,
            "description": template.description,
            "mediaType": "image",
            "mediaSubtype": "webp",
            "tags": ["Simulator"],
            "models": [],
            "date": "2026-01-01",
        }
        for name, template in found.items()
    ]
    return [{"moduleName": "default", "category": "GENERATION TYPE", "title": "Simulator", "templates": entries}]


def thumbnail(name: str) -> bytes:
    """A plain picture (WebP) in a colour that depends on the name."""
    from PIL import Image

    colour = tuple(sum(name.encode()[start::3]) % 200 + 30 for start in range(3))
    buffer = io.BytesIO()
    Image.new("RGB", (320, 320), colour).save(buffer, "WEBP")
    return buffer.getvalue()


def _node(number: int, part: Part, links: Sequence[Sequence[Any]]) -> dict[str, Any]:
    inputs, outputs = _SLOTS[part.class_type]
    into = {link[4]: link[0] for link in links if link[3] == number}
    out: dict[int, list[int]] = {}
    for link in links:
        if link[1] == number:
            out.setdefault(link[2], []).append(link[0])
    return {
        "id": number,
        "type": part.class_type,
        "pos": [_WIDTH * (number - 1) * 1.1, 100],
        "size": [_WIDTH, 260],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": [{"name": name, "type": kind, "link": into.get(slot)} for slot, (name, kind) in enumerate(inputs)],
        "outputs": [
            {"name": kind, "type": kind, "links": out.get(slot, []), "slot_index": slot}
            for slot, kind in enumerate(outputs)
        ],
        "properties": {"Node name for S&R": part.class_type},
        "widgets_values": list(part.values),
    }
