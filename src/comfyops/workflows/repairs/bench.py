"""The graph while it is being repaired, and what repairs ask of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from comfyops.workflows.checks.custom import MODERN_CHECKS, OLDER_CHECKS
from comfyops.workflows.checks.inputs import CheckError, Fault, InputCheck, types_match
from comfyops.workflows.checks.server import prepared
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import DYNAMIC_TYPES, InputType, NodeType, NodeTypes, input_type
from comfyops.workflows.repairs.proposal import Proposal

MOST_SEARCHES = 2000
"""Searches through the whole graph for another source of a link; after that links are only looked at on the spot."""

ANYTHING = frozenset({"*", "COMFY_MATCHTYPE_V3"})
"""Type words that say nothing of what fits."""


class Bench:
    """Nodes by id, changed one proposal at a time."""

    def __init__(self, graph: Graph, types: NodeTypes) -> None:
        self.nodes: dict[str, Node] = dict(graph.nodes)
        self.types = types
        self._custom = MODERN_CHECKS if types.is_modern else OLDER_CHECKS
        self._checks: dict[str, tuple[InputCheck, ...]] = {}
        self._outputs: dict[str, tuple[Link, ...]] = {}
        self._searches = MOST_SEARCHES
        self._takers: dict[str, dict[tuple[str, str], int]] = {}
        self._names: dict[Link, Counter[str]] = {}
        for node in graph:
            self._note(node, 1)

    @property
    def graph(self) -> Graph:
        """The graph as it is now."""
        return Graph(self.nodes)

    def after(self, proposal: Proposal) -> Graph:
        """The graph as it would be."""
        return Graph({**self.nodes, **{node.id: node for node in proposal.nodes}})

    def apply(self, proposal: Proposal) -> None:
        """Put the changed nodes in place."""
        for node in proposal.nodes:
            old = self.nodes.get(node.id)
            if old is None or old.class_type != node.class_type:
                self._outputs = {}
            if old is not None:
                self._note(old, -1)
            self.nodes[node.id] = node
            self._note(node, 1)

    def type_of(self, node: Node | None) -> NodeType | None:
        """The node's type, None where the server has no such class (or there is no such node)."""
        return None if node is None else self.types.get(node.class_type or "")

    def checks(self, node: Node, node_type: NodeType) -> tuple[InputCheck, ...]:
        """The server's checks of the inputs that the node has for its present values."""
        if node_type.is_dynamic:
            inputs = expand(node_type, node.inputs or {}, modern=self.types.is_modern)
            return prepared(self.types, node_type, inputs)
        if node_type.name not in self._checks:
            self._checks[node_type.name] = prepared(self.types, node_type, node_type.inputs)
        return self._checks[node_type.name]

    def undeclared(self, node: Node, node_type: NodeType, checks: Iterable[InputCheck]) -> list[str]:
        """Names given that the class does not have, in order."""
        known = {check.name for check in checks} | set(node_type.hidden)
        dynamic = tuple(item.name for item in node_type.inputs if item.kind in DYNAMIC_TYPES)
        free = self._custom.get(node_type.name)
        if free is not None and free.skips is None:
            return []
        return [name for name in node.inputs or {} if name not in known and name not in dynamic]

    def kind_of(self, link: Link) -> str | None:
        """The type word of the output that a link takes, None where nothing is known of it."""
        source = self.type_of(self.nodes.get(link.node))
        if source is None:
            return None
        return source.outputs[link.slot].kind if link.slot < len(source.outputs) else None

    def outputs_of(self, node_id: str, kind: str) -> list[Link]:
        """The outputs of one node that give this type."""
        source = self.type_of(self.nodes.get(node_id))
        outputs = source.outputs if source else ()
        return [Link(node_id, slot) for slot, output in enumerate(outputs) if types_match(output.kind, kind)]

    def sources(self, node_id: str, kind: str) -> Iterator[Link]:
        """Every output that gives this type and does not need the node itself."""
        if kind not in self._outputs:
            self._outputs[kind] = tuple(link for key in self.nodes for link in self.outputs_of(key, kind))
        found = self._outputs[kind]
        if not found or self._searches <= 0:
            return
        self._searches -= 1
        below = self.downstream(node_id)
        yield from (link for link in found if link.node not in below)

    def downstream(self, node_id: str) -> set[str]:
        """The node and all that need it."""
        found, pending = {node_id}, [node_id]
        while pending:
            fresh = {taker for taker, _ in self._takers.get(pending.pop(), ()) if taker not in found}
            found |= fresh
            pending += fresh
        return found

    def takers(self, node_id: str) -> list[tuple[Node, str, int]]:
        """(node, input, output number) of each link from a node."""
        return [(self.nodes[taker], name, slot) for (taker, name), slot in self._takers.get(node_id, {}).items()]

    def taken_as(self, link: Link) -> Counter[str]:
        """The names of the inputs that take an output, counted."""
        return self._names.get(link, Counter())

    def _note(self, node: Node, change: int) -> None:
        """Count the node's links in (1) or out (-1)."""
        for name, link in node.links():
            if change > 0:
                self._takers.setdefault(link.node, {})[node.id, name] = link.slot
            else:
                self._takers[link.node].pop((node.id, name), None)
            names = self._names.setdefault(link, Counter())
            names[name] += change
            if names[name] <= 0:
                del names[name]


def word(check: InputCheck) -> str:
    """The type word of an input; the older form of a COMBO is a list of its choices."""
    return check.kind if isinstance(check.kind, str) else "COMBO"


def declared(check: InputCheck) -> InputType:
    """What the class says of the input that a check is for."""
    return input_type(check.name, check.spec, check.required)


def fault_of(check: InputCheck, value: Value) -> Fault | None:
    """What the server finds wrong with a value that is no link; an exception of its check counts as a bad value."""
    try:
        return check.fault(value)
    except CheckError:
        return Fault("invalid_input_type", "", "", {"input_name": check.name})


def fits(bench: Bench, check: InputCheck, value: Value) -> bool:
    """Whether an input could have this value."""
    if type(value) is Link:
        kind = bench.kind_of(value)
        return kind is not None and kind not in ANYTHING and types_match(kind, check.kind)
    return not isinstance(value, tuple) and declared(check).is_widget and fault_of(check, value) is None
