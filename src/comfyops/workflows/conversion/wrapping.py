"""Values that the editor has no field for (inputs that can only be linked), or that it would change on sending.

A node with such a value is drawn as an instance of a subgraph: what an instance holds is sent as it is. The subgraph's
input leads to the node's, and where that has no field, to one of a muted node too, which makes the instance show it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from comfyops.workflows.node_types import NodeTypes

_INNER, _FIRST_CARRIER, _INPUT, _OUTPUT = 1, 2, -10, -20
_CARRIERS = (
    (bool, "PrimitiveBoolean", "BOOLEAN"),
    (int, "PrimitiveInt", "INT"),
    (float, "PrimitiveFloat", "FLOAT"),
    (str, "PrimitiveStringMultiline", "STRING"),
)
"""Type of value, the class whose field `value` takes it, and that field's type."""


def carried(values: Mapping[str, Any], types: NodeTypes) -> dict[str, tuple[Any, str, str]]:
    """Of these values those that some node has a field for: the value, that node's class and the field's type."""
    found: dict[str, tuple[Any, str, str]] = {}
    for name, value in values.items():
        for kind, class_type, field in _CARRIERS:
            if isinstance(value, kind):
                if class_type in types:
                    found[name] = (value, class_type, field)
                break
    return found


def wrapped(
    node: dict[str, Any], values: Mapping[str, tuple[Any, str, str]], links: list[list[Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The instance that stands for a drawn node, and its subgraph; `links` are told the places of its inputs."""
    inner = {**node, "id": _INNER, "pos": [300, 100]}
    inside: list[dict[str, Any]] = []
    carriers: list[dict[str, Any]] = []
    outer: list[dict[str, Any]] = []
    ports: list[dict[str, Any]] = []
    inner["inputs"] = [dict(slot) for slot in node["inputs"]]
    for place, slot in enumerate(inner["inputs"]):
        name, link = slot["name"], slot["link"]
        if link is None and name not in values:
            continue
        ends = [(_INNER, place, slot)]
        outer.append({"name": name, "type": slot["type"], "link": link})
        if name in values:
            if "widget" not in slot:
                ends.insert(0, _carrier(values[name], carriers))
            outer[-1] |= {"type": values[name][2], "widget": {"name": name}}
        else:
            _move(links, link, len(outer) - 1)
        ports.append({"name": name, "type": outer[-1]["type"], "linkIds": []})
        for target, target_place, end in ends:
            end["link"] = _add(inside, _INPUT, len(ports) - 1, target, target_place, slot["type"])
            ports[-1]["linkIds"].append(end["link"])
    results: list[dict[str, Any]] = []
    inner["outputs"] = [{**output, "links": []} for output in node["outputs"]]
    for place, output in enumerate(inner["outputs"]):
        output["links"].append(_add(inside, _INNER, place, _OUTPUT, place, output["type"]))
        results.append({"name": output["name"], "type": output["type"], "linkIds": list(output["links"])})
    title = node.get("title") or node["type"]
    definition = _definition(title, [inner, *carriers], inside, ports, results)
    shown = [values[slot["name"]][0] for slot in outer if "widget" in slot]
    instance = {**node, "type": definition["id"], "inputs": outer, "widgets_values": shown, "properties": {}}
    return {**instance, "title": title}, definition


def _carrier(value: tuple[Any, str, str], carriers: list[dict[str, Any]]) -> tuple[int, int, dict[str, Any]]:
    """A muted node with a field of the right type: its id, and the place and slot of the field."""
    given, class_type, kind = value
    slot = {"name": "value", "type": kind, "widget": {"name": "value"}, "link": None}
    number = _FIRST_CARRIER + len(carriers)
    carriers.append(
        {
            "id": number,
            "type": class_type,
            "pos": [0, 100 + 120 * len(carriers)],
            "size": [210, 80],
            "flags": {},
            "order": 0,
            "mode": 2,
            "inputs": [slot],
            "outputs": [{"name": kind, "type": kind, "links": None}],
            "properties": {},
            "widgets_values": [given],
        }
    )
    return number, 0, slot


def _add(links: list[dict[str, Any]], origin: int, out: int, target: int, place: int, kind: str) -> int:
    number = len(links) + 1
    ends = {"origin_id": origin, "origin_slot": out, "target_id": target, "target_slot": place}
    links.append({"id": number, **ends, "type": kind})
    return number


def _move(links: list[list[Any]], number: int, place: int) -> None:
    links[number - 1][4] = place  # links are numbered from 1 in their order


def _definition(
    name: str,
    nodes: list[dict[str, Any]],
    links: list[dict[str, Any]],
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
) -> dict[str, Any]:
    key = uuid.uuid5(uuid.NAMESPACE_OID, repr((nodes, inputs)))
    ports = [{"id": str(uuid.uuid5(key, f"in {at}")), **port} for at, port in enumerate(inputs)]
    results = [{"id": str(uuid.uuid5(key, f"out {at}")), **port} for at, port in enumerate(outputs)]
    state = {"lastGroupId": 0, "lastNodeId": len(nodes), "lastLinkId": len(links), "lastRerouteId": 0}
    return {
        "id": str(key),
        "version": 1,
        "state": state,
        "revision": 0,
        "config": {},
        "name": name,
        "inputNode": {"id": _INPUT, "bounding": [-250, 100, 120, 60]},
        "outputNode": {"id": _OUTPUT, "bounding": [800, 100, 120, 60]},
        "inputs": ports,
        "outputs": results,
        "widgets": [],
        "nodes": nodes,
        "groups": [],
        "links": links,
        "extra": {},
    }
