"""A graph as a workflow that the editor opens: nodes with slots and saved values, links, places, groups.

Dynamic prompts are escaped, so that the editor sends the same text again; see also `wrapping`. Source: the editor's
format, version 0.4.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from comfyops.workflows import api_format
from comfyops.workflows.conversion import texts, wrapping
from comfyops.workflows.conversion.fields import VIEW, Field, Growing, Layout
from comfyops.workflows.conversion.live import Layouts
from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.layout import Box, arrange
from comfyops.workflows.node_types import MATCH_TYPE, NodeType, NodeTypes

LANES = ("Loaders", "Inputs", "Conditioning", "Sampling", "Images", "Video", "Sound", "3D", "Other", "Output")
"""The groups of a drawn workflow, from top to bottom."""

_COLOURS = {"Loaders": "#3f789e", "Conditioning": "#b06634", "Sampling": "#a1309b", "Output": "#8a8a8a"}
_LANE_WORDS = (
    ("Loaders", ("loader",)),
    ("Sampling", ("sampling", "sampler", "latent", "noise", "guider", "scheduler", "sigmas")),
    ("Conditioning", ("conditioning", "controlnet", "prompt")),
    ("Sound", ("audio", "sound")),
    ("3D", ("3d",)),
    ("Video", ("video",)),
    ("Images", ("image", "mask")),
)
_SLOT_HEIGHT, _FIELD_HEIGHT, _TEXT_HEIGHT = 20.0, 24.0, 120.0


def draw(graph: Graph, types: NodeTypes) -> dict[str, Any]:
    """The workflow as JSON. Nodes keep ids that are whole numbers, others get new ones; links to nothing go."""
    layouts = Layouts(types)
    ids = _ids(graph)
    drawn = {node.id: _Drawn(node, layouts.get(node.class_type or "")) for node in graph if node.class_type is not None}
    links = _link(drawn, ids)
    edges = [(link.node, node.id) for node in graph for _, link in node.links()]
    plan = arrange({key: item.box() for key, item in drawn.items()}, edges, LANES)
    nodes: list[dict[str, Any]] = []
    definitions: list[dict[str, Any]] = []
    for key in plan.order:
        node = {**drawn[key].json(ids[key]), "pos": list(plan.places[key]), "order": plan.order[key]}
        values = wrapping.carried(drawn[key].unshown(), types)
        if values:
            node, definition = wrapping.wrapped(node, values, links)
            definitions.append(definition)
        nodes.append(node)
    groups = [
        {
            "id": number,
            "title": area.lane,
            "bounding": [area.x, area.y, area.width, area.height],
            "color": _COLOURS.get(area.lane, "#3f789e"),
            "font_size": 24,
            "flags": {},
        }
        for number, area in enumerate(plan.areas, 1)
    ]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, api_format.dumps(graph))),
        "revision": 0,
        "last_node_id": max(ids.values(), default=0),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": groups,
        **({"definitions": {"subgraphs": definitions}} if definitions else {}),
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _ids(graph: Graph) -> dict[str, int]:
    kept = {key: int(key) for key in graph.nodes if key.isascii() and key.isdecimal() and key == str(int(key[:12]))}
    free = max(kept.values(), default=0)
    ids: dict[str, int] = {}
    for key in graph.nodes:
        if key not in kept:
            free += 1
        ids[key] = kept.get(key, free)
    return ids


def _link(drawn: Mapping[str, _Drawn], ids: Mapping[str, int]) -> list[list[Any]]:
    """Number the links, tell both ends of them, and give them all."""
    links: list[list[Any]] = []
    for target in drawn.values():
        for place, slot in enumerate(target.inputs):
            link = target.given.get(slot["name"])
            if type(link) is not Link or link.node not in drawn:
                continue
            output = drawn[link.node].output(link.slot)
            slot["link"] = len(links) + 1
            output["links"].append(slot["link"])
            links.append([slot["link"], ids[link.node], link.slot, ids[target.node.id], place, output["type"]])
    return links


class _Drawn:
    """One node with its slots and values."""

    def __init__(self, node: Node, known: tuple[NodeType, Layout] | None) -> None:
        self.node = node
        self.given = node.inputs or {}
        self.type = known[0] if known is not None else None
        self.inputs: list[dict[str, Any]] = []
        self.values: list[Any] = []
        self.named: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.texts = 0
        self.outputs = [_output(item.name, item.kind) for item in (self.type.outputs if self.type else ())]
        self.hard: dict[str, Any] = {}
        if known is not None:
            self._open(known[1])
        self._others()

    def output(self, place: int) -> dict[str, Any]:
        """The output of this number; made where the type does not declare it."""
        while len(self.outputs) <= min(place, 1000):
            self.outputs.append(_output(f"output_{len(self.outputs)}", "*"))
        return self.outputs[min(place, len(self.outputs) - 1)]

    def box(self) -> Box:
        """The size that the editor will give the node, about, and its lane."""
        sockets = sum("widget" not in item for item in self.inputs)
        fields = len(self.values) - self.texts
        height = 10 + _SLOT_HEIGHT * max(sockets, len(self.outputs), 1)
        height += _FIELD_HEIGHT * fields + _TEXT_HEIGHT * self.texts
        longest = max((len(item["name"]) for item in self.inputs), default=0)
        return Box(max(400.0 if self.texts else 270.0, 11.0 * longest), height, self._lane())

    def json(self, number: int) -> dict[str, Any]:
        """The node in the editor's format, but for its place."""
        box = self.box()
        data = {
            "id": number,
            "type": self.node.class_type,
            "pos": [0, 0],
            "size": [box.width, box.height],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": self.inputs,
            "outputs": [{**item, "links": item["links"] or None} for item in self.outputs],
            "properties": {"Node name for S&R": self.node.class_type, **self.properties},
            "widgets_values": self.values,
        }
        if self.type is None and self.named:
            data["widgets_values_named"] = self.named
        if self.node.title and self.node.title != (self.type.display_name if self.type else ""):
            data["title"] = self.node.title
        return data

    def unshown(self) -> dict[str, Any]:
        """The values given for inputs that the editor has no field for, or that it would change on sending."""
        sockets = [item["name"] for item in self.inputs if "widget" not in item]
        given = {name: self.given[name] for name in sockets if name in self.given}
        return {name: _plain(value) for name, value in given.items() if type(value) is not Link} | self.hard

    def _open(self, layout: Layout) -> None:
        for socket in layout.sockets:
            if isinstance(socket, Growing):
                self._grow(socket)
            else:
                self.inputs.append(_input(*socket))
        for item in layout.fields:
            value = self._value(item)
            if item.kind == VIEW and isinstance(value, dict):
                self._stand(value.get("camera_info"))
            if item.saved:
                self.values.append(value)
                self.texts += item.multiline
            if item.socket is not None:
                self.inputs.append({**_input(item.name, item.socket), "widget": {"name": item.name}})
            if item.choices is not None and isinstance(value, str) and value in item.choices:
                self._open(item.choices[value])

    def _value(self, item: Field) -> Any:
        if item.kind == "CONTROL":
            return "fixed"
        given = self.given.get(item.name, item) if item.sent else item
        if given is item or type(given) is Link:
            return item.default
        value = _plain(given)
        if not item.dynamic_prompt or not isinstance(value, str):
            return value
        escaped = _escaped(value)
        if texts.dynamic_prompt(escaped) != value:
            self.hard[item.name] = value
        return escaped

    def _stand(self, camera: Any) -> None:
        """Keep where the camera of a 3D view stands."""
        if isinstance(camera, dict):
            kept = {key: camera[key] for key in ("cameraType", "fov") if key in camera}
            self.properties["Camera Config"] = {**kept, "state": camera}

    def _grow(self, growing: Growing) -> None:
        used = [at for at, name in enumerate(growing.names) if name in self.given]
        count = max(1, growing.minimum + 1, used[-1] + 2 if used else 0)
        self.inputs.extend(_input(name, growing.kind) for name in growing.names[:count])

    def _others(self) -> None:
        """Inputs that the type does not declare: links get a slot; an unknown type's values are kept by name too."""
        names = {item["name"] for item in self.inputs}
        for name, value in self.given.items():
            if type(value) is Link:
                if name not in names:
                    self.inputs.append(_input(name, "*"))
            elif self.type is None:
                self.named[name] = _plain(value)
                self.values.append(self.named[name])
                self.inputs.append({**_input(name, "*"), "widget": {"name": name}})

    def _lane(self) -> str:
        if self.type is None:
            return "Other"
        if self.type.is_output:
            return "Output"
        words = f"{self.type.category} {self.type.name}".lower()
        inputs = any(type(value) is Link for value in self.given.values())
        if not inputs and "loader" not in words and any(word in words for word in ("load", "primitive", "input")):
            return "Inputs"
        return next((lane for lane, marks in _LANE_WORDS if any(mark in words for mark in marks)), "Other")


def _input(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": None}


def _output(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": "*" if kind == MATCH_TYPE else kind, "links": []}


def _plain(value: Any) -> Any:
    """A value as the editor saves it: lists are not wrapped."""
    if isinstance(value, Mapping) and "__value__" in value and set(value) <= {"__value__", "__type__"}:
        return api_format.from_value(value["__value__"])
    return api_format.from_value(value)


def _escaped(text: str) -> str:
    return re.sub(r"(?<!\\)[{}|]", r"\\\g<0>", text)
