"""Inputs of a workflow: named, typed values that a person or program sets, found from the graph's structure.

`find` names them (prompt, seed, width, image2, ...), `schema` describes them as JSON Schema, `apply` sets them. One
input may set several nodes. A name is the same for the same graph, whatever order its nodes were written in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfyops.errors import UnknownInputError
from comfyops.workflows.api_format import from_value
from comfyops.workflows.graph import Graph, Value
from comfyops.workflows.inputs import addresses, values
from comfyops.workflows.inputs.naming import named
from comfyops.workflows.inputs.tracing import Place
from comfyops.workflows.inputs.workflow_input import UPLOADS, Encoding, InputKind, WorkflowInput
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import NodeTypes

__all__ = ["UPLOADS", "Encoding", "InputKind", "WorkflowInput", "apply", "find", "resolve", "schema"]


def find(graph: Graph, types: NodeTypes) -> tuple[WorkflowInput, ...]:
    """The inputs of a graph, most wanted first: prompts, files, size and length, seeds, sampling, models, the rest."""
    return named(graph, types)


def schema(inputs: Iterable[WorkflowInput], title: str = "") -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the object of values that `apply` takes; targets stand under `x-targets`."""
    found = tuple(inputs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **({"title": title} if title else {}),
        "type": "object",
        "properties": {item.name: _property(item) for item in found},
        "required": [item.name for item in found if item.required],
        "additionalProperties": False,
    }


def apply(graph: Graph, inputs: Iterable[WorkflowInput], given: Mapping[str, object], types: NodeTypes) -> Graph:
    """The graph with these values; texts are read as what an input takes.

    A name is that of an input, one of its aliases, or an address (see `addresses`); addresses are set last, so that
    they win. Raises UnknownInputError for a name that fits nothing or too much, InvalidValueError for a value that an
    input does not take, and for a mask that was not joined with its picture (see `Encoding.ALPHA`).
    """
    found = tuple(inputs)
    resolved = [(name, resolve(graph, found, name), value) for name, value in given.items()]
    for name, item, value in sorted(resolved, key=lambda entry: isinstance(entry[1], tuple)):
        if isinstance(item, tuple):
            for place in item:
                graph = _set(graph, place, values.for_place(value, place, graph, types, name))
        else:
            checked = values.for_input(value, item)
            for place in item.targets:
                graph = _set(graph, place, values.for_place(checked, place, graph, types, name, strict=False))
    return graph


def resolve(graph: Graph, inputs: Iterable[WorkflowInput], name: str) -> WorkflowInput | tuple[Place, ...]:
    """The input that a name means, else the places that it addresses.

    Raises UnknownInputError with the nearest names.
    """
    found = tuple(inputs)
    item = next((item for item in found if item.name == name), None)
    item = item or next((item for item in found if name in item.aliases), None)
    if item is not None:
        return item
    places = addresses.full(graph, name)
    if places:
        return places
    places = addresses.bare(graph, name)
    covering = next((item for item in found if places and set(places) <= set(item.targets)), None)
    if covering is not None:
        return covering
    if len(places) == 1:
        return places
    raise _unknown(graph, found, name, places)


def _unknown(
    graph: Graph, inputs: tuple[WorkflowInput, ...], name: str, places: tuple[Place, ...]
) -> UnknownInputError:
    if places:
        choices = tuple(f"{place.node}.{place.input}" for place in places)
        words = f"{name!r} is an input of several nodes; say which: {', '.join(choices)}."
        return UnknownInputError(words, name=name, suggestions=choices)
    known = [text for item in inputs for text in (item.name, *item.aliases)]
    addressed = nearest(name, (address for address in addresses.names(graph) if "." in address)) if "." in name else ()
    near = addressed or nearest(name, known) or nearest(name, addresses.names(graph))
    words = f" Nearest: {', '.join(near)}." if near else ""
    return UnknownInputError(f"The workflow has no input {name!r} to set.{words}", name=name, suggestions=near)


def _set(graph: Graph, place: Place, value: Value) -> Graph:
    return graph.with_input(place.node, place.input, value)


_JSON_TYPES = {InputKind.INTEGER: "integer", InputKind.NUMBER: "number", InputKind.BOOLEAN: "boolean"}


def _property(item: WorkflowInput) -> dict[str, Any]:
    found: dict[str, Any] = {"title": item.title}
    if item.description:
        found["description"] = item.description
    if item.choices is None or item.kind in _JSON_TYPES:
        found["type"] = _JSON_TYPES.get(item.kind, "string")
    if item.default is not None and item.encoding is not Encoding.ALPHA:
        found["default"] = from_value(item.default)
    if item.minimum is not None:
        found["minimum"] = item.minimum
    if item.maximum is not None:
        found["maximum"] = item.maximum
    if item.choices is not None:
        found["enum"] = [from_value(choice) for choice in item.choices]
    if item.kind in UPLOADS:
        found["x-file"] = item.kind.value
    if item.folder:
        found["x-folder"] = item.folder
    found["x-targets"] = [f"{place.node}.{place.input}" for place in item.targets]
    return found
