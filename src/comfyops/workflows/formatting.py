"""One way to write a workflow down, so that two versions of it can be compared line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from comfyops.errors import WorkflowFormatError
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import NodeTypes

_UI_KEYS = (
    *("id", "revision", "last_node_id", "last_link_id", "nodes", "links"),
    *("groups", "definitions", "config", "extra", "version"),
)
_UI_NODE_KEYS = (
    *("id", "type", "title", "pos", "size", "flags", "order", "mode"),
    *("inputs", "outputs", "properties", "widgets_values"),
)


def formatted(graph: Graph, types: NodeTypes | None = None, *, renumber: bool = False) -> Graph:
    """The same graph with nodes by id ("2" before "10") and inputs in the order of their class.

    `renumber` gives the ids "1", "2", ... in the order in which nodes need one another. Inputs that the class does not
    have, or all of them where the class is not known, come last, by name.
    """
    if renumber:
        graph = renumbered(graph)
    nodes = sorted(graph, key=lambda node: natural(node.id))
    return Graph({node.id: _sorted_inputs(node, types) for node in nodes})


def renumbered(graph: Graph) -> Graph:
    """The graph with ids "1", "2", ..., sources before what needs them; links to nothing keep pointing to nothing."""
    new = {old: str(number) for number, old in enumerate(flow_order(graph), 1)}
    taken = set(new.values())
    lost = {source for node in graph for source in sources(node) if source not in graph}
    new.update({old: f"missing-{old}" if old in taken else old for old in lost})
    return Graph({new[key]: _relinked(graph[key], new) for key in flow_order(graph)})


def sources(node: Node) -> list[str]:
    """The nodes that a node takes something from, by links and by what servers take for one (`["4", -1]`)."""
    values = (node.inputs or {}).values()
    return [value[0] for value in values if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)]


def flow_order(graph: Graph) -> list[str]:
    """Node ids, those that a node needs before it, otherwise by number; nodes of circles and what needs them last."""
    waiting: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for key in sorted(graph.nodes, key=natural):
        needs = {source for source in sources(graph[key]) if source in graph}
        waiting[key] = len(needs)
        for source in needs:
            users.setdefault(source, []).append(key)
    ready = [key for key, count in waiting.items() if count == 0]
    for key in ready:  # grows while it is gone through
        for user in users.get(key, ()):
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    done = set(ready)
    return ready + [key for key in waiting if key not in done]


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts "2" before "10" and "57:3" after "57"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part), "") if part[0] in _DIGITS and len(part) < 40 else (1, 0, part) for part in parts)


def merged(original: Any, graph: Graph) -> Any:
    """The JSON of a changed graph in the frame of the original: other fields of the request and of nodes stay."""
    if not isinstance(original, dict):
        return api_format.dump(graph)
    if isinstance(original.get("prompt"), dict) and "class_type" not in original["prompt"]:
        return {**original, "prompt": merged(original["prompt"], graph)}
    nodes: dict[str, Any] = {}
    for key, node in api_format.dump(graph).items():
        before = original.get(key)
        nodes[key] = _merged_node(before, node) if isinstance(before, dict) else node
    return nodes


def api_text(data: Any) -> str:
    """JSON of a graph as text: class first, then inputs, then the rest; two spaces, one final newline.

    Raises WorkflowFormatError where other fields are nested beyond reason.
    """
    return _text(_map_nodes(data, _api_node))


def ui_text(data: Mapping[str, Any]) -> str:
    """JSON of a workflow in UI format as text: its keys in one order; nodes and links stay in theirs.

    Raises WorkflowFormatError where it is nested beyond reason.
    """
    if _depth(data) > api_format.MAX_NESTING:
        return _text(data)
    return _text(_ui_graph(data))


def _merged_node(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    node = {**before, **after}
    meta = before.get("_meta")
    if isinstance(meta, dict):
        node["_meta"] = {**meta, **after.get("_meta", {})}
    return node


def _map_nodes(data: Any, change: Any) -> Any:
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict) and "class_type" not in data["prompt"]:
        return {**data, "prompt": _map_nodes(data["prompt"], change)}
    return {key: change(node) if isinstance(node, dict) else node for key, node in data.items()}


def _api_node(node: Mapping[str, Any]) -> dict[str, Any]:
    return _keys_first(node, ("class_type", "inputs", "_meta"))


def _ui_graph(data: Mapping[str, Any]) -> dict[str, Any]:
    graph = _keys_first(data, _UI_KEYS)
    if isinstance(graph.get("nodes"), list):
        graph["nodes"] = [
            _keys_first(item, _UI_NODE_KEYS) if isinstance(item, dict) else item for item in graph["nodes"]
        ]
    definitions = graph.get("definitions")
    if isinstance(definitions, dict) and isinstance(definitions.get("subgraphs"), list):
        inner = [_ui_graph(item) if isinstance(item, dict) else item for item in definitions["subgraphs"]]
        graph["definitions"] = {**definitions, "subgraphs": inner}
    return graph


def _keys_first(data: Mapping[str, Any], first: Iterable[str]) -> dict[str, Any]:
    known = {key: data[key] for key in first if key in data}
    return {**known, **{key: data[key] for key in sorted(data) if key not in known}}


def _text(data: Any) -> str:
    if _depth(data) > api_format.MAX_NESTING:
        words = f"The workflow is nested more than {api_format.MAX_NESTING} levels deep, so it is not written anew."
        raise WorkflowFormatError(words)
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if any("\ud800" <= char <= "\udfff" for char in text):  # halves of characters, which UTF-8 cannot hold
        text = json.dumps(data, indent=2)
    return text + "\n"


def _depth(data: Any) -> int:
    """How deep lists and objects are nested in one another."""
    level, depth = [data], 0
    while level and depth <= api_format.MAX_NESTING:
        holders = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
        depth += bool(holders)
    return depth


def _sorted_inputs(node: Node, types: NodeTypes | None) -> Node:
    if node.inputs is None:
        return node
    node_type = types.get(node.class_type or "") if types is not None else None
    places = {item.name: place for place, item in enumerate(node_type.inputs if node_type else ())}

    def place(name: str) -> tuple[int, tuple[tuple[int, int, str], ...]]:
        return places.get(name, places.get(name.partition(".")[0], len(places))), natural(name)

    return replace(node, inputs=MappingProxyType({name: node.inputs[name] for name in sorted(node.inputs, key=place)}))


def _relinked(node: Node, new: Mapping[str, str]) -> Node:
    if node.inputs is None:
        return replace(node, id=new[node.id])
    inputs = {name: _relinked_value(value, new) for name, value in node.inputs.items()}
    return replace(node, id=new[node.id], inputs=MappingProxyType(inputs))


def _relinked_value(value: Value, new: Mapping[str, str]) -> Value:
    if type(value) is Link:
        return Link(new[value.node], value.slot)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return (new[value[0]], value[1])
    return value


_DIGITS = frozenset("0123456789")
