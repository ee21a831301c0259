"""ComfyUI's API format: the JSON that POST /prompt takes, `{"id": {"class_type": ..., "inputs": {...}}}`.

Source: the answers of ComfyUI 0.33.0 and 0.8.0; the format has no published schema. Files may hold the bare graph or
`{"prompt": graph}`. Whatever a server would look at is kept, right or wrong; see `graph`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from comfyops.errors import NotJsonError, UiFormatError, WorkflowFormatError
from comfyops.workflows.graph import Graph, Link, Node, Value

NO_INPUTS = "it has no inputs object"
"""`Node.oddity` of a node whose inputs are simply absent."""

ODD_META = "its _meta is "
"""How `Node.oddity` begins for a node in which nothing but its _meta is odd."""

MAX_NESTING = 200
"""Deepest nesting of JSON inside a workflow. Real ones need under 20; Python's own parser dies near 1000."""


def loads(text: str | bytes, where: str = "The text") -> Graph:
    """The graph in a JSON text; `where` names it in errors.

    Raises NotJsonError, UiFormatError and WorkflowFormatError.
    """
    return parse(load_json(text, where), where)


def load_json(text: str | bytes, where: str = "The text") -> Any:
    """Parse JSON with a clear error.

    Raises NotJsonError for anything that is not JSON, UTF-8, or nested beyond reason.
    """
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise NotJsonError(f"{where} is not JSON: it is not text in UTF-8.") from error
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise NotJsonError(f"{where} is not JSON: {error.msg} at {at}.") from error
    except ValueError as error:  # Python refuses whole numbers of more than 4300 digits
        raise NotJsonError(f"{where} holds a number with too many digits.") from error
    except RecursionError as error:
        raise NotJsonError(f"{where} is JSON nested too deeply to be a workflow.") from error


def parse(data: object, where: str = "The workflow") -> Graph:
    """The graph in parsed JSON, bare or as `{"prompt": graph}`.

    Raises UiFormatError for a workflow in UI format, WorkflowFormatError for anything else that is no graph.
    """
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict) and "class_type" not in data["prompt"]:
        data = data["prompt"]
    if not isinstance(data, dict):
        raise WorkflowFormatError(f"{where} is not a workflow: it is {_kind(data)}, not an object of nodes.")
    if is_ui_format(data):
        raise UiFormatError(f"{where} is a workflow in UI format; the API format is needed here.")
    if data and not any(isinstance(node, dict) for node in data.values()):
        raise WorkflowFormatError(f"{where} is not a workflow: it holds no nodes.")
    return Graph({key: _node(key, node) for key, node in data.items()})


def is_ui_format(data: object) -> bool:
    """Whether parsed JSON is a workflow in UI format (what the editor saves)."""
    return isinstance(data, dict) and isinstance(data.get("nodes"), list)


def dump(graph: Graph) -> dict[str, Any]:
    """The JSON value to send or write; `_meta.title` is kept where a node has a title."""
    return {node.id: _dump_node(node) for node in graph}


def dumps(graph: Graph) -> str:
    """The JSON text of a graph, indented, with a final newline."""
    return json.dumps(dump(graph), indent=2, ensure_ascii=False) + "\n"


def to_value(data: Any, depth: int = 0) -> Value:
    """One input's value from JSON: `[str, int]` becomes a Link, other lists tuples, objects read-only mappings.

    Raises WorkflowFormatError for nesting beyond MAX_NESTING.
    """
    if isinstance(data, list):
        if depth == 0 and len(data) == 2 and type(data[0]) is str and type(data[1]) is int and data[1] >= 0:
            return Link(data[0], data[1])
        _limit(depth)
        return tuple(to_value(item, depth + 1) for item in data)
    if isinstance(data, dict):
        _limit(depth)
        return MappingProxyType({key: to_value(item, depth + 1) for key, item in data.items()})
    return data  # type: ignore[no-any-return]


def is_nested(data: object, most: int) -> bool:
    """Whether JSON lists and objects are in each other on more than `most` levels, however many."""
    layer: list[Any] = [data]
    for _ in range(most + 1):
        layer = [item for item in layer if isinstance(item, dict | list)]
        if not layer:
            return False
        layer = [item for outer in layer for item in (outer.values() if isinstance(outer, dict) else outer)]
    return True


def from_value(value: Value) -> Any:
    """The JSON form of an input's value."""
    if isinstance(value, tuple):
        return [from_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: from_value(item) for key, item in value.items()}
    return value


def _limit(depth: int) -> None:
    if depth > MAX_NESTING:
        raise WorkflowFormatError(f"An input's value is nested more than {MAX_NESTING} levels deep.")


def _node(node_id: str, data: object) -> Node:
    if not isinstance(data, dict):
        return Node(node_id, None, None, oddity=f"it is {_kind(data)}, not an object")
    oddity = ""
    class_type, inputs, meta = data.get("class_type"), data.get("inputs"), data.get("_meta", {})
    has_meta = "_meta" in data and isinstance(meta, dict)
    if class_type is not None and not isinstance(class_type, str):
        class_type, oddity = None, f"its class_type is {_kind(class_type)}, not a string"
    if not isinstance(inputs, dict):
        oddity = oddity or (f"its inputs are {_kind(inputs)}, not an object" if "inputs" in data else NO_INPUTS)
        inputs = None
    if not isinstance(meta, dict):
        oddity, meta = oddity or f"{ODD_META}{_kind(meta)}, not an object", {}
    title = meta.get("title")
    values = None if inputs is None else MappingProxyType({name: to_value(item) for name, item in inputs.items()})
    return Node(node_id, class_type, values, title if isinstance(title, str) else "", oddity, has_meta)


def _dump_node(node: Node) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if node.inputs is not None:
        data["inputs"] = {name: from_value(value) for name, value in node.inputs.items()}
    if node.class_type is not None:
        data["class_type"] = node.class_type
    if node.title or node.has_meta:
        data["_meta"] = {"title": node.title} if node.title else {}
    return data


def _kind(data: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if data is None else names.get(type(data), "something else")
