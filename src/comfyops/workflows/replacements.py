"""Old node classes that a modern server replaces by their successors before it validates a graph.

Source: GET /node_replacements of ComfyUI 0.33.0 and what it does with the answer. Only a class that the server does not
have is replaced; one without a list of inputs loses all its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from comfyops.workflows.graph import Graph, Node, Value
from comfyops.workflows.node_types import NodeTypes


class ReplacementCrash(Exception):
    """The server fails on the replacement of this node."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """The class that takes the place, where its inputs come from, and fixed values of others."""

    class_type: str
    inputs: Mapping[str, str]  # new name -> old name
    values: Mapping[str, Value]


REPLACEMENTS: Mapping[str, Replacement] = {
    "ResizeImagesByLongerEdge": Replacement(
        "ImageScaleToMaxDimension",
        {"image": "images", "largest_size": "longer_edge"},
        {"upscale_method": "lanczos"},
    ),
    "ImageBatch": Replacement("BatchImagesNode", {"images.image0": "image1", "images.image1": "image2"}, {}),
    "ImageScaleBy": Replacement(
        "ResizeImageMaskNode",
        {"input": "image", "resize_type.multiplier": "scale_by", "scale_method": "upscale_method"},
        {"resize_type": "scale by multiplier"},
    ),
    "T2IAdapterLoader": Replacement("ControlNetLoader", {"control_net_name": "t2i_adapter_name"}, {}),
    "Load3DAnimation": Replacement("Load3D", {}, {}),
    "Preview3DAnimation": Replacement("Preview3D", {}, {}),
    "SDV_img2vid_Conditioning": Replacement("SVD_img2vid_Conditioning", {}, {}),
    "ConditioningAverage ": Replacement("ConditioningAverage", {}, {}),
}


def replace_classes(graph: Graph, types: NodeTypes) -> Graph:
    """The graph as a modern server with these node types would queue it.

    Raises ReplacementCrash where the server answers 500: a replaced node without `_meta`, or without an input that its
    successor needs.
    """
    changed: dict[str, Node] = {}
    for node in graph:
        new = REPLACEMENTS.get(node.class_type or "")
        if new and node.class_type not in types and new.class_type in types and node.inputs is not None:
            changed[node.id] = _successor(node, new)
    return Graph({**graph.nodes, **changed}) if changed else graph


def _successor(node: Node, new: Replacement) -> Node:
    if not node.has_meta:
        raise ReplacementCrash(f"{node.id}: {node.class_type} is replaced, which needs a _meta object")
    given = node.inputs or {}
    missing = [old for old in new.inputs.values() if old not in given]
    if missing:
        raise ReplacementCrash(f"{node.id}: {node.class_type} is replaced, which needs its input {missing[0]}")
    inputs = {name: given[old] for name, old in new.inputs.items()} | dict(new.values)
    return replace(node, class_type=new.class_type, inputs=MappingProxyType(inputs))
