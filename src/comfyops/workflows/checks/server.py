"""ComfyUI's own validation of a graph, re-built: with a real server's verdict and faulty nodes.

Source: the behaviour of ComfyUI 0.33.0 and 0.8.0 (`NodeTypes.is_modern` chooses). Where a server's answer depends on
the order of a set, which changes from start to start, this one goes through all inputs, in the order of declaration.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from comfyops.workflows.api_format import NO_INPUTS, ODD_META, from_value
from comfyops.workflows.checks.custom import MODERN_CHECKS, OLDER_CHECKS, CheckCrash, CustomCheck, FileExists
from comfyops.workflows.checks.inputs import CheckError, Fault, InputCheck, link_parts, types_match, unwrapped
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import InputType, NodeType, NodeTypes
from comfyops.workflows.replacements import ReplacementCrash, replace_classes

DEEPEST = 984
"""Longest chain of nodes that a server's recursive validation gets through."""


@dataclass(frozen=True)
class Verdict:
    """What a server says of a graph.

    `error` is why it refuses the whole (None = it accepts at least one output); the type "server_error" stands for its
    500 answers. `node_faults` are the faulty nodes, `dependents` the outputs each of them spoils, `good_outputs` the
    outputs that would run. `graph` is what it would queue. `silent_cycle` are the nodes of a cycle that the server
    refuses without naming them (0.8 does).
    """

    error: Fault | None
    node_faults: Mapping[str, tuple[Fault, ...]]
    dependents: Mapping[str, tuple[str, ...]]
    good_outputs: tuple[str, ...]
    graph: Graph
    silent_cycle: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the server would queue it."""
        return self.error is None


def check(
    graph: Graph,
    types: NodeTypes,
    *,
    file_exists: FileExists | None = None,
    targets: tuple[str, ...] | None = None,
) -> Verdict:
    """The verdict of a server with these node types.

    `file_exists` answers for the files in the server's input, output and temp folders; without it they are not checked.
    `targets` are the only outputs wanted (None = all).
    """
    if types.is_modern:
        odd = next((node for node in graph if node.oddity and not _is_passed_over(node, types)), None)
        if odd is not None:
            return _refused(graph, Fault("server_error", "The server fails on this node", f"{odd.id}: {odd.oddity}"))
        try:
            graph = replace_classes(graph, types)
        except ReplacementCrash as error:
            return _refused(graph, Fault("server_error", "The server fails on this node", str(error)))
    for node in graph:
        if node.class_type is None or node.class_type not in types:
            return _refused(graph, _unknown_class(node, types))
    outputs = [
        node.id for node in graph if types[node.class_type or ""].is_output and (targets is None or node.id in targets)
    ]
    if not outputs:
        return _refused(graph, Fault("prompt_no_outputs", "Prompt has no outputs", ""))
    return _Checker(graph, types, file_exists).verdict(outputs)


def prepared(types: NodeTypes, node_type: NodeType, inputs: Iterable[InputType]) -> tuple[InputCheck, ...]:
    """The checks of these inputs of a class, as a server with these node types makes them."""
    custom = (MODERN_CHECKS if types.is_modern else OLDER_CHECKS).get(node_type.name)
    folders = {} if types.files_known else types.folders.get(node_type.name, {})
    return tuple(
        InputCheck(
            item,
            free=custom is not None and (custom.skips is None or item.name in custom.skips),
            files_unknown=item.name in folders,
        )
        for item in inputs
    )


def _refused(graph: Graph, error: Fault) -> Verdict:
    return Verdict(error, {}, {}, (), graph)


def _is_passed_over(node: Node, types: NodeTypes) -> bool:
    """Whether a server does not look at what is odd; of a class that it has it never looks at the _meta."""
    return node.oddity == NO_INPUTS or (node.oddity.startswith(ODD_META) and node.class_type in types)


def _unknown_class(node: Node, types: NodeTypes) -> Fault:
    details = f"Node ID '#{node.id}'"
    if not types.is_modern:
        missing = "a node is missing the class_type property."
        words = missing if node.class_type is None else f"node {node.class_type} does not exist."
        return Fault("invalid_prompt", f"Cannot execute because {words}", details)
    title = node.title or node.class_type
    if node.class_type is None:
        label = title or f"ID #{node.id}"
        words = f"Node '{label}' has no class_type. The workflow may be corrupted or a custom node is missing."
    else:
        words = f"Node '{title}' not found. The custom node may not be installed."
    extra = {"node_id": node.id, "class_type": node.class_type, "node_title": title}
    return Fault("missing_node_type", words, details, extra)


@dataclass(frozen=True, slots=True)
class _Raised:
    """Checking a node ended in an exception instead of an answer."""

    message: str
    exception_type: str


_Answer: TypeAlias = bool | _Raised
_Visit: TypeAlias = Generator[str, _Answer, _Answer]


class _Checker:
    """One pass over one graph. Nodes are visited depth first, by generators instead of recursion."""

    def __init__(self, graph: Graph, types: NodeTypes, file_exists: FileExists | None) -> None:
        self.nodes = graph.nodes
        self.graph = graph
        self.types = types
        self.modern = types.is_modern
        self.custom = MODERN_CHECKS if self.modern else OLDER_CHECKS
        self.file_exists = file_exists
        self.checked: dict[str, tuple[bool, list[Fault]]] = {}
        self.path: dict[str, None] = {}  # the nodes being visited, outermost first
        self.plans: dict[str, tuple[InputCheck, ...]] = types.prepared
        self.silent_cycle: tuple[str, ...] = ()

    def verdict(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        dependents: dict[str, list[str]] = {}
        messages: list[str] = []
        for output in outputs:
            answer = self._run(output)
            if isinstance(answer, _Raised):
                fault = Fault(
                    "exception_during_validation",
                    "Exception when validating node",
                    answer.message,
                    {"exception_type": answer.exception_type, "traceback": []},
                )
                self.checked[output] = (False, [fault])
            if answer is True:
                good.append(output)
                continue
            messages += [f"{fault.message}: {fault.details}" for fault in self.checked[output][1]]
            for node_id, (fine, faults) in self.checked.items():
                if not fine and faults:
                    dependents.setdefault(node_id, []).append(output)
        error = None
        if not good:
            error = Fault("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(messages))
        return Verdict(
            error,
            {node_id: tuple(self.checked[node_id][1]) for node_id in dependents},
            {node_id: tuple(names) for node_id, names in dependents.items()},
            tuple(good),
            self.graph,
            self.silent_cycle,
        )

    def _run(self, start: str) -> _Answer:
        """Visit a node and all that it needs."""
        answer: _Answer | None = self._known(start)
        stack: list[tuple[str, _Visit]] = []
        if answer is None:
            stack.append((start, self._enter(start)))
        while stack:
            try:
                child = stack[-1][1].send(answer)  # type: ignore[arg-type]
            except StopIteration as done:
                answer = done.value
                self.path.pop(stack.pop()[0])
                continue
            answer = self._known(child)
            if answer is None and len(stack) >= DEEPEST:
                answer = _Raised("maximum recursion depth exceeded", "RecursionError")
            elif answer is None:
                stack.append((child, self._enter(child)))
        assert answer is not None
        return answer

    def _enter(self, node_id: str) -> _Visit:
        self.path[node_id] = None
        return self._visit(node_id)

    def _known(self, node_id: str) -> _Answer | None:
        """The answer for a node that was checked before or closes a cycle, None for one that must be visited."""
        if node_id in self.checked:
            return self.checked[node_id][0]
        if node_id not in self.path:
            return None
        path = list(self.path)
        cycle = path[path.index(node_id) :]
        if self.modern:
            self._blame_cycle(cycle)
        else:
            self.silent_cycle = (*cycle, node_id)
        return False

    def _blame_cycle(self, cycle: list[str]) -> None:
        words = " -> ".join(f"{key} ({self.nodes[key].class_type})" for key in [*cycle, cycle[0]])
        for key in cycle:
            extra = {"node_id": key, "cycle_nodes": cycle}
            self.checked[key] = (False, [Fault("dependency_cycle", "Dependency cycle detected", words, extra)])

    def _visit(self, node_id: str) -> _Visit:
        node = self.nodes[node_id]
        node_type = self.types[node.class_type or ""]
        if node.inputs is None:
            return _Raised("'inputs'", "KeyError")
        faults: list[Fault] = []
        fine = True
        raised: _Raised | None = None
        for item in self._plan(node_type, node.inputs):
            value = node.inputs.get(item.name, _ABSENT)
            if value is _ABSENT:
                if item.required:
                    name = item.name.rpartition(".")[2] if node_type.is_dynamic else item.name
                    faults.append(item.missing(name))
                continue
            if not isinstance(value, tuple):
                try:
                    fault = item.fault(value)
                except CheckError as error:
                    raised = raised or _Raised(str(error), error.exception_type)
                else:
                    if fault is not None:
                        faults.append(fault)
                continue
            source = self._source(item, value, node.class_type or "")
            if isinstance(source, Fault):
                faults.append(source)
            elif isinstance(source, _Raised):
                raised = raised or source
            else:
                answer = yield source
                fine = fine and answer is True
                if isinstance(answer, _Raised):
                    self.checked[source] = (False, [self._inner(item, value, answer)])
        return raised or self._conclude(node, faults, fine)

    def _plan(self, node_type: NodeType, given: Mapping[str, Value]) -> tuple[InputCheck, ...]:
        if node_type.is_dynamic:
            return prepared(self.types, node_type, expand(node_type, given, modern=self.modern))
        plan = self.plans.get(node_type.name)
        if plan is None:
            plan = self.plans[node_type.name] = prepared(self.types, node_type, node_type.inputs)
        return plan

    def _source(self, item: InputCheck, value: tuple[Any, ...], class_type: str) -> str | Fault | _Raised:
        """The id of the node that a link comes from, or what is wrong with the link."""
        parts = link_parts(value)
        if parts is None:
            return item.bad_link(value)
        node_id, slot = parts
        if not isinstance(node_id, str) or node_id not in self.nodes:
            return _Raised(repr(node_id), "KeyError")
        outputs = self.types[self.nodes[node_id].class_type or ""].raw["output"]
        try:
            received = outputs[slot]
        except IndexError:
            return _Raised("tuple index out of range", "IndexError")
        except TypeError:
            words = f"tuple indices must be integers or slices, not {type(slot).__name__}"
            return _Raised(words, "TypeError")
        matches = types_match(received, item.kind) or class_type in _TAKES_ANY_TYPE
        return node_id if matches else item.mismatch(received, [node_id, slot])

    def _inner(self, item: InputCheck, value: tuple[Any, ...], raised: _Raised) -> Fault:
        extra = {
            "input_name": item.name,
            "input_config": item.spec,
            "exception_message": raised.message,
            "exception_type": raised.exception_type,
            "traceback": [],
            "linked_node": list(value),
        }
        return Fault("exception_during_inner_validation", "Exception when validating inner node", raised.message, extra)

    def _conclude(self, node: Node, faults: list[Fault], fine: bool) -> _Answer:
        custom = self.custom.get(node.class_type or "")
        if custom is not None and custom.check is not None:
            try:
                faults += self._custom_faults(custom, node.inputs or {})
            except CheckCrash as crash:
                return _Raised(str(crash), "AttributeError")
        blamed = self.checked.get(node.id, (True, []))
        fine = blamed[0] and fine and not faults
        self.checked[node.id] = (fine, blamed[1] + faults)
        return fine

    def _custom_faults(self, custom: CustomCheck, inputs: Mapping[str, Value]) -> list[Fault]:
        assert custom.check is not None
        values = {name: None if type(value) is Link else from_value(unwrapped(value)) for name, value in inputs.items()}
        words = custom.check(values, self.file_exists)
        if words is None:
            return []
        return [
            Fault(
                "custom_validation_failed",
                "Custom validation failed for node",
                f"{name} - {words}" if words else name,
                {"input_name": name},
            )
            for name in custom.blames
            if name in inputs
        ]


_ABSENT: Any = object()
_TAKES_ANY_TYPE = frozenset({"TripoConversionNode"})
