"""Inputs of a graph that stand for files: another job's output, a stored asset. Pure.

`{"$output": {"job": ID, "index": 0}}` (or `"node": "9"` for that node's first output) and `{"$asset": HASH}` stand
where a file name would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from comfyops.errors import UsageError

_MARKS = frozenset(["$output", "$asset"])
_OBJECT = (dict, Mapping)  # the first is told at once, the second by a look at its class


@dataclass(frozen=True, slots=True)
class OutputOf:
    """The output number `index` of a job, or of its node `node` where that is not ""."""

    job: str
    index: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class AssetOf:
    """A stored file by its BLAKE3."""

    hash: str


Reference = OutputOf | AssetOf


def find(graph: Mapping[str, Any]) -> tuple[Reference, ...]:
    """Every reference of a graph, each once. Raises UsageError for one that makes no sense."""
    return tuple(dict.fromkeys(reference for _, _, reference in _all(graph)))


def put(graph: Mapping[str, Any], name_of: Callable[[Reference], Any]) -> dict[str, Any]:
    """A copy of the graph with what `name_of` gives in place of each reference."""
    places = {(node, name): name_of(reference) for node, name, reference in _all(graph)}
    changed = {node for node, _ in places}
    return {
        key: node if key not in changed else {**node, "inputs": _filled(key, node["inputs"], places)}
        for key, node in graph.items()
    }


def _filled(node: str, inputs: Mapping[str, Any], places: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    return {name: places.get((node, name), value) for name, value in inputs.items()}


def _all(graph: Mapping[str, Any]) -> Iterator[tuple[str, str, Reference]]:
    for key, node in graph.items():
        inputs = node.get("inputs") if isinstance(node, _OBJECT) else None
        for name, value in inputs.items() if isinstance(inputs, _OBJECT) else ():
            if isinstance(value, _OBJECT) and len(value) == 1 and _MARKS & value.keys():
                yield key, name, _reference(value, f"The input {name!r} of node {key}")


def _reference(value: Mapping[str, Any], where: str) -> Reference:
    mark, body = next(iter(value.items()))
    if mark == "$asset":
        if isinstance(body, str) and body:
            return AssetOf(body.removeprefix("blake3:"))
        raise UsageError(f"{where} names no asset: give its hash.", hint='Write {"$asset": "blake3:..."}.')
    if isinstance(body, Mapping) and _is_uuid(body.get("job")):
        index, node = body.get("index", 0), body.get("node", "")
        if type(index) is int and index >= 0 and isinstance(node, str):
            return OutputOf(str(body["job"]), index, node)
    raise UsageError(f"{where} names no output of a job.", hint='Write {"$output": {"job": "ID", "index": 0}}.')


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False
