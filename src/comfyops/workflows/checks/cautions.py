"""What a server takes and survives, but what is probably not meant: nodes without use, inputs that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comfyops.workflows.checks.custom import MODERN_CHECKS
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.graph import Graph, Node, Value
from comfyops.workflows.nearest import nearest, nearest_choice
from comfyops.workflows.node_types import DYNAMIC_COMBO, InputType, NodeType, NodeTypes
from comfyops.workflows.problems import Problem, Severity

_SOCKETS = frozenset({"IMAGE", "MASK", "LATENT", "MODEL", "CLIP", "VAE", "CONDITIONING", "AUDIO", "VIDEO"})


def cautions(graph: Graph, types: NodeTypes) -> Iterator[Problem]:
    """The warnings about a graph whose classes all exist."""
    needed = graph.upstream(node.id for node in graph if types[node.class_type or ""].is_output)
    screens: dict[str, _Screen] = {}
    for node in graph:
        if node.id not in needed:
            words = f"Node {node.id} ({node.class_type}) is needed by no output, so it does not run."
            yield Problem(node.id, "", "unused_node", Severity.WARNING, words)
        elif node.inputs is not None:
            yield from _of_node(node, node.inputs, types, screens)


@dataclass(frozen=True, slots=True)
class _Screen:
    """What to look for in the inputs of a class: all that it declares, and those whose values may be doubtful."""

    declared: Mapping[str, InputType]
    doubtful: frozenset[str]


def _of_node(
    node: Node, given: Mapping[str, Value], types: NodeTypes, screens: dict[str, _Screen]
) -> Iterator[Problem]:
    node_type = types[node.class_type or ""]
    screen = screens.get(node_type.name)
    if screen is None:
        inputs = expand(node_type, given, modern=types.is_modern) if node_type.is_dynamic else node_type.inputs
        screen = _screen(node_type, inputs, types)
        if not node_type.is_dynamic:
            screens[node_type.name] = screen
    for name, value in given.items():
        if name not in screen.declared:
            if name not in node_type.hidden and node_type.name != "CustomCombo":
                yield _undeclared(node, name, value, node_type.input(name), screen.declared)
        elif name in screen.doubtful and not isinstance(value, tuple):
            yield _doubtful(node, screen.declared[name], value, types)
    for item in node_type.inputs if node_type.is_dynamic else ():
        if item.kind == DYNAMIC_COMBO and item.required and item.name not in given:
            words = f"{_at(node, item.name)}: it is not given; the server accepts that, but the run fails."
            yield Problem(node.id, item.name, "will_fail", Severity.WARNING, words)


def _screen(node_type: NodeType, inputs: tuple[InputType, ...], types: NodeTypes) -> _Screen:
    doubtful = {item.name for item in inputs if item.kind in _SOCKETS or _is_file(node_type.name, item, types)}
    return _Screen({item.name: item for item in inputs}, frozenset(doubtful))


def _is_file(class_type: str, item: InputType, types: NodeTypes) -> bool:
    """Whether it takes the name of a file of which it is not known whether the server has it."""
    if types.files_known:
        return class_type in MODERN_CHECKS and bool(item.options.get("image_upload"))
    return types.folder(class_type, item.name) is not None


def _undeclared(
    node: Node, name: str, value: object, dynamic: InputType | None, declared: Mapping[str, InputType]
) -> Problem:
    if dynamic is not None and dynamic.choices is not None:
        near = nearest_choice(value, dynamic.choices)
        words = f"{_at(node, name)}: {value!r} is not one of its values; the server accepts that, but the run fails."
        return Problem(node.id, name, "will_fail", Severity.WARNING, words, near)
    near = nearest(name, declared)
    words = f"{_at(node, name)}: the class has no such input, so it is ignored."
    return Problem(node.id, name, "unknown_input", Severity.WARNING, words, near)


def _doubtful(node: Node, item: InputType, value: object, types: NodeTypes) -> Problem:
    if item.kind in _SOCKETS:
        words = f"{_at(node, item.name)}: it wants a link to {item.kind}, not a value; the run will fail."
        return Problem(node.id, item.name, "will_fail", Severity.WARNING, words)
    folder = types.folder(node.class_type or "", item.name) or "input"
    known = "only known there" if types.files_known else "not known offline"
    words = f"{_at(node, item.name)}: whether a server has {value!r} in its folder {folder!r} is {known}."
    return Problem(node.id, item.name, "file_not_checked", Severity.WARNING, words)


def _at(node: Node, name: str) -> str:
    return f"Node {node.id} ({node.class_type}), input {name!r}"
