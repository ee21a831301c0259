"""Whether a server would take a workflow, and what is wrong with it, in plain words.

Severity `error` is exactly what makes the server refuse the workflow or drop an output of it, `danger` is what it
accepts and then breaks on, everything else is `warning`. One exception: ComfyUI 0.8 refuses a cycle without naming its
nodes, so beside other errors a cycle is a warning there, and an error of the whole workflow where it is the only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comfyops.workflows.custom_checks import MODERN_CHECKS, FileExists
from comfyops.workflows.dangers import dangers, request_problems
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.explain import nearest, nearest_choice, problems_of, refusal
from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.node_types import DYNAMIC_COMBO, InputType, NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.server_checks import Verdict, check


@dataclass(frozen=True, slots=True)
class Report:
    """All problems of one workflow, the worst first."""

    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether a server takes it whole."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    @property
    def safe(self) -> bool:
        """Whether no server breaks on it."""
        return all(problem.severity is not Severity.DANGER for problem in self.problems)


def validate(graph: Graph, types: NodeTypes, *, file_exists: FileExists | None = None) -> tuple[Problem, ...]:
    """The problems of a graph on a server with these node types, the worst first.

    `file_exists` answers for files in the server's input, output and temp folders; without it they are not checked.
    """
    return report(graph, types, file_exists=file_exists).problems


def report(
    graph: Graph,
    types: NodeTypes,
    *,
    request: Mapping[str, object] | None = None,
    file_exists: FileExists | None = None,
) -> Report:
    """The same as a report; `request` holds the other fields of a POST /prompt body, where there are any."""
    verdict = check(graph, types, file_exists=file_exists)
    problems = [*request_problems(request or {}, modern=types.is_modern), *_errors(verdict, types)]
    if verdict.accepted:
        problems += dangers(graph)
    if verdict.accepted or verdict.node_faults or verdict.silent_cycle:
        problems += _warnings(verdict, types)
    order = list(Severity)
    return Report(tuple(sorted(problems, key=lambda problem: order.index(problem.severity))))


def _errors(verdict: Verdict, types: NodeTypes) -> Iterator[Problem]:
    if verdict.silent_cycle:
        severity = Severity.WARNING if verdict.node_faults else Severity.ERROR
        path = " -> ".join(verdict.silent_cycle)
        words = f"Nodes need their own results, by way of {path}; this server refuses that without saying why."
        yield Problem("", "", "dependency_cycle", severity, words)
    elif verdict.error and not verdict.node_faults:
        yield from refusal(verdict.error, verdict.graph, types)
    for node_id, faults in verdict.node_faults.items():
        for fault in faults:
            yield from problems_of(fault, node_id, verdict.graph, types)


def _warnings(verdict: Verdict, types: NodeTypes) -> Iterator[Problem]:
    graph = verdict.graph
    needed = graph.upstream(node.id for node in graph if types[node.class_type or ""].is_output)
    for node in graph:
        if node.id not in needed:
            words = f"Node {node.id} ({node.class_type}) is needed by no output, so it does not run."
            yield Problem(node.id, "", "unused_node", Severity.WARNING, words)
        elif node.inputs is not None:
            yield from _input_warnings(node, types)


def _input_warnings(node: Node, types: NodeTypes) -> Iterator[Problem]:
    node_type = types[node.class_type or ""]
    given = node.inputs or {}
    inputs = expand(node_type, given, modern=types.is_modern) if node_type.is_dynamic else node_type.inputs
    declared = {item.name: item for item in inputs}
    for name, value in given.items():
        item = declared.get(name)
        if item is None:
            if name not in node_type.hidden and node.class_type != "CustomCombo":
                yield _undeclared(node, name, value, node_type.input(name), declared)
        elif type(value) is not Link and not isinstance(value, tuple):
            yield from _value_warnings(node, item, value, types)
    for item in node_type.inputs if node_type.is_dynamic else ():
        if item.kind == DYNAMIC_COMBO and item.required and item.name not in given:
            words = f"{_at(node, item.name)}: it is not given; the server accepts that, but the run fails."
            yield Problem(node.id, item.name, "will_fail", Severity.WARNING, words)


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


def _value_warnings(node: Node, item: InputType, value: object, types: NodeTypes) -> Iterator[Problem]:
    class_type = node.class_type or ""
    if not types.files_known and types.folder(class_type, item.name):
        folder = types.folder(class_type, item.name)
        words = f"{_at(node, item.name)}: whether a server has {value!r} in its folder {folder!r} is not known offline."
        yield Problem(node.id, item.name, "file_not_checked", Severity.WARNING, words)
    elif not item.is_widget and item.kind.isupper() and item.kind in _SOCKETS:
        words = f"{_at(node, item.name)}: it wants a link to {item.kind}, not a value; the run will fail."
        yield Problem(node.id, item.name, "will_fail", Severity.WARNING, words)
    elif class_type in MODERN_CHECKS and types.files_known and item.options.get("image_upload"):
        words = f"{_at(node, item.name)}: whether the server has the file {value!r} is only known there."
        yield Problem(node.id, item.name, "file_not_checked", Severity.WARNING, words)


def _at(node: Node, name: str) -> str:
    return f"Node {node.id} ({node.class_type}), input {name!r}"


_SOCKETS = frozenset({"IMAGE", "MASK", "LATENT", "MODEL", "CLIP", "VAE", "CONDITIONING", "AUDIO", "VIDEO"})
