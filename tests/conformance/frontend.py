"""What the official editor made of workflows: recorded cases, and what it means that two graphs are the same.

`data/conversion/frontend-VERSION.json.gz` holds workflows and the graphs that the editor of that version sent for them;
"-changed" are templates changed at random (muted and bypassed nodes, reroutes, primitives, links taken away, ...),
"-groups" ones whose nodes were packed into group nodes. Long texts are shortened, and the names of the pictures that
the editor drew of 3D scenes are taken out, because they hold the time of drawing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from comfyops.workflows.node_types import NodeTypes

DATA = Path(__file__).parent.parent / "data" / "conversion"
NODES = {
    "1.49.6": "0.33.0",
    "1.49.6-changed": "0.33.0",
    "1.35.9": "0.8.0",
    "1.35.9-groups": "0.8.0",
    "1.58.1": "0.8.0",
}
"""Version of the editor (and kind of cases) -> version of ComfyUI whose nodes it knew."""


@cache
def cases(version: str) -> Mapping[str, Mapping[str, Any]]:
    """The cases of one version by name: `ui` and `api`."""
    found: Mapping[str, Mapping[str, Any]] = json.loads(
        gzip.decompress((DATA / f"frontend-{version}.json.gz").read_bytes())
    )
    return found


def names() -> list[tuple[str, str]]:
    """(version, name) of every case."""
    return [(version, name) for version in NODES for name in cases(version)]


def digest(graph: Mapping[str, Any], types: NodeTypes) -> list[str]:
    """A text per node that says all of it and of what it takes, whatever the ids: equal graphs have equal lists.

    Inputs that a node's class does not declare do not count; 1 and 1.0 are the same.
    """
    known: dict[str, str] = {}

    def one(key: str, way: frozenset[str]) -> str:
        if key in way:
            return "a circle"
        if key not in known:
            node = graph[key]
            parts = [node["class_type"]]
            for name, value in sorted(node["inputs"].items()):
                if _declared(types, node["class_type"], name):
                    parts.append([name, said(value, way | {key})])
            known[key] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return known[key]

    def said(value: Any, way: frozenset[str]) -> Any:
        if isinstance(value, list) and len(value) == 2 and value[0] in graph and isinstance(value[1], int):
            return ["link", one(value[0], way), value[1]]
        return ["value", json.dumps(_numbers(value), sort_keys=True)]

    return sorted(one(key, frozenset()) for key in graph)


def _declared(types: NodeTypes, class_type: str, name: str) -> bool:
    if class_type not in types:
        return True
    node_type = types[class_type]
    return any(name == item.name or name.startswith(f"{item.name}.") for item in node_type.inputs)


def _numbers(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return value
