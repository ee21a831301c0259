"""The server's faults in plain sentences, with the nearest valid values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.workflows.checks.inputs import Fault, link_parts
from comfyops.workflows.graph import Graph, Node, Value
from comfyops.workflows.nearest import nearest, nearest_choice
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity

_EXCEPTIONS = ("exception_during_validation", "exception_during_inner_validation")


def problems_of(fault: Fault, node_id: str, graph: Graph, types: NodeTypes) -> Iterator[Problem]:
    """A fault of one node as problems of severity error; an exception becomes the causes that are found in the node."""
    node = graph.nodes[node_id]
    if fault.type in _EXCEPTIONS:
        if fault.extra_info.get("exception_type") == "RecursionError":
            yield _error(node, "", "chain_too_deep", "more nodes are chained here than the server can go through.")
            return
        causes = tuple(_causes(node, graph, types))
        yield from causes or [_error(node, "", "server_exception", f"the server fails on it: {fault.details}.")]
    else:
        yield _plain(fault, node, types)


def refusal(fault: Fault, graph: Graph, types: NodeTypes) -> Iterator[Problem]:
    """The reason why a server refuses a whole graph, before it looks at single inputs."""
    if fault.type == "prompt_no_outputs":
        wanted = ("SaveImage", "PreviewImage")
        words = "The workflow has no output node (one that saves or shows something), so nothing would run."
        yield Problem("", "", fault.type, Severity.ERROR, words, wanted)
    elif fault.type == "server_error":
        yield Problem(fault.details.partition(": ")[0], "", "server_error", Severity.ERROR, _crash(fault))
        return
    for node in graph:
        if node.class_type is None:
            yield _error(node, "", "missing_class_type", f"{node.oddity or 'it has no class_type'}.")
        elif node.class_type not in types:
            near = nearest(node.class_type, types)
            words = f"the server has no class {node.class_type!r}{_instead(near)}."
            yield _error(node, "", "unknown_class", words, near)


def _error(node: Node, name: str, code: str, words: str, suggestions: tuple[str, ...] = ()) -> Problem:
    return Problem(node.id, name, code, Severity.ERROR, f"{_called(node, name)}: {words}", suggestions)


def _called(node: Node, name: str = "") -> str:
    label = f"Node {node.id} ({node.class_type or 'no class'})"
    return f"{label}, input {name!r}" if name else label


def _crash(fault: Fault) -> str:
    node_id, _, why = fault.details.partition(": ")
    return f"Node {node_id}: {why}, on which the server fails with an internal error."


def _instead(near: tuple[str, ...]) -> str:
    return f" (nearest: {', '.join(map(repr, near))})" if near else ""


def _plain(fault: Fault, node: Node, types: NodeTypes) -> Problem:
    name, extra = fault.input, fault.extra_info
    value = _short(extra.get("received_value"))
    options: Mapping[str, Any] = (extra.get("input_config") or ("", {}))[1]
    if fault.type == "required_input_missing":
        words = "it is required, but not given."
    elif fault.type == "bad_linked_input":
        words = f"{value} is neither a value nor a link, which is [node id, output number]."
    elif fault.type == "return_type_mismatch":
        source, slot = extra["linked_node"]
        wanted = _short(extra["input_config"][0])
        words = f"it wants {wanted}, but output {slot} of node {source} gives {_short(extra['received_type'])}."
    elif fault.type == "invalid_input_type":
        words = f"{value} cannot be read as {(extra['input_config'][0])}."
    elif fault.type in ("value_smaller_than_min", "value_bigger_than_max"):
        edge, word = (options["min"], "smallest") if fault.type.endswith("min") else (options["max"], "largest")
        return _error(node, name, fault.type, f"{value} is out of range; the {word} value is {edge}.", (str(edge),))
    elif fault.type == "value_not_in_list":
        return _not_listed(fault, node, types)
    elif fault.type == "dependency_cycle":
        words = f"it needs its own result, by way of {fault.details}."
    else:
        words = f"{fault.details.rpartition(' - ')[2]}."
    return _error(node, name, fault.type, words)


def _not_listed(fault: Fault, node: Node, types: NodeTypes) -> Problem:
    name, value = fault.input, fault.extra_info.get("received_value")
    declared = types[node.class_type or ""].input(name)
    config = fault.extra_info.get("input_config")
    choices = declared.choices if declared and declared.choices is not None else _choices(config)
    near = nearest_choice(value, choices)
    folder = types.folder(node.class_type or "", name)
    if folder and not choices:
        words = f"the server has no {_short(value)}; its folder {folder!r} is empty."
    elif folder:
        words = f"the server has no {_short(value)} in its folder {folder!r}{_instead(near)}."
    else:
        words = f"{_short(value)} is not one of the {len(choices)} possible values{_instead(near)}."
    return _error(node, name, fault.type, words, near)


def _choices(config: object) -> tuple[object, ...]:
    if not isinstance(config, tuple):
        return ()
    kind, options = config
    return tuple(kind if isinstance(kind, list) else options.get("options") or ())


def _causes(node: Node, graph: Graph, types: NodeTypes) -> Iterator[Problem]:
    """What in a node makes the server's own check raise."""
    if node.inputs is None:
        yield _error(node, "", "inputs_missing", f"{node.oddity}.")
        return
    for name, value in node.inputs.items():
        parts = link_parts(value)
        if parts is not None:
            yield from _link_causes(node, name, parts, graph, types)
    if not any(link_parts(value) for value in node.inputs.values()):
        for name, value in node.inputs.items():
            if value is None or not isinstance(value, str | int | float):
                yield _error(node, name, "invalid_input_type", f"{_short(value)} is not a usable value.")


def _link_causes(
    node: Node, name: str, parts: tuple[object, object], graph: Graph, types: NodeTypes
) -> Iterator[Problem]:
    source, slot = parts
    if not isinstance(source, str) or source not in graph:
        if isinstance(source, int) and str(source) in graph:
            words = f"the node id of its link must be a string, {str(source)!r} instead of {source}."
            yield _error(node, name, "bad_linked_input", words, (str(source),))
        else:
            yield _error(node, name, "link_to_missing_node", f"it is linked to node {source!r}, which is not there.")
        return
    outputs = types[graph.nodes[source].class_type or ""].outputs
    if not isinstance(slot, int):
        words = f"the output number of its link must be a whole number, not {slot!r}."
        yield _error(node, name, "bad_linked_input", words)
    elif not -len(outputs) <= slot < len(outputs):
        count = f"{len(outputs)} output{'s' if len(outputs) != 1 else ''}" if outputs else "no outputs"
        yield _error(node, name, "link_slot_missing", f"it wants output {slot} of node {source}, which has {count}.")


def _short(value: Value | object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
