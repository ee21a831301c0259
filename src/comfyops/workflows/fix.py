"""Repairs of a graph, each with its reason: what follows from the node types for sure, and guesses on request.

Nothing is changed that a server takes as it is, but for deprecated classes with an exact successor and values that the
run would fail on; a graph that is valid stays valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from comfyops.workflows.checks.inputs import InputCheck
from comfyops.workflows.graph import Graph, Node
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.repairs import classes, links, names, outputs, values
from comfyops.workflows.repairs.bench import Bench, declared, fault_of, word
from comfyops.workflows.repairs.proposal import Change, Kind, Proposal, Proposals, with_inputs
from comfyops.workflows.validate import report

MOST_PASSES = 12
"""Times that all nodes are gone through: a repair may make another one possible."""

_MOST_TRIALS = 100


@dataclass(frozen=True)
class Fixed:
    """A repaired graph, what was changed, in order, and the guesses that were not made."""

    graph: Graph
    changes: tuple[Change, ...]
    guesses: tuple[Change, ...]


def fix(graph: Graph, types: NodeTypes, *, guess: bool = False) -> Fixed:
    """Repair a graph for a server with these node types; `guess` also makes the changes that are not certain.

    Nodes of classes that the server does not have are left alone, where nothing says what they should be.
    """
    return _Fixer(graph, types).run(guess)


class _Fixer:
    def __init__(self, graph: Graph, types: NodeTypes) -> None:
        self._bench = Bench(graph, types)
        self._types = types
        self._changes: list[Change] = []
        self._seen: set[tuple[str, str, Kind, str]] = set()
        self._was_valid = report(graph, types).valid
        self._trials = _MOST_TRIALS

    def run(self, guess: bool) -> Fixed:
        for _ in range(MOST_PASSES):
            before = len(self._changes)
            self._settle(guess=False)
            if guess and len(self._changes) == before:
                self._settle(guess=True)
                self._whole_graph()
            if len(self._changes) == before:
                break
        graph = self._bench.graph
        return Fixed(graph, tuple(self._changes), tuple(self._left(graph)))

    def _settle(self, *, guess: bool) -> None:
        """Repair each node until nothing more is to be done on it."""
        for node_id in list(self._bench.nodes):
            while self._step(_proposals(self._bench, self._bench.nodes[node_id]), guess):
                pass

    def _whole_graph(self) -> None:
        while self._step(links.cycles(self._bench, self._bench.graph), True):
            pass
        self._step(outputs.added(self._bench), True)

    def _step(self, proposals: Proposals, guess: bool) -> bool:
        """Make the first change that may be made; whether there was one."""
        for proposal in proposals:
            if (proposal.certain or guess) and self._may(proposal):
                self._bench.apply(proposal)
                self._changes += proposal.changes
                return True
        return False

    def _may(self, proposal: Proposal) -> bool:
        """Not twice the same, and nothing that would spoil a valid graph."""
        keys = {(item.node, item.input, item.kind, repr(item.after)) for item in proposal.changes}
        if keys & self._seen:
            return False
        if self._was_valid:
            self._trials -= 1
            if self._trials < 0 or not report(self._bench.after(proposal), self._types).valid:
                return False
        self._seen |= keys
        return True

    def _left(self, graph: Graph) -> Iterator[Change]:
        """The first guess for each place that is still wrong."""
        done: set[tuple[str, str]] = set()
        for node in graph:
            for proposal in _proposals(self._bench, node):
                change = proposal.changes[0]
                if not proposal.certain and (change.node, change.input) not in done:
                    done.add((change.node, change.input))
                    yield from proposal.changes
        for found in (links.cycles(self._bench, graph), outputs.added(self._bench)):
            yield from next((proposal.changes for proposal in found), ())


def _proposals(bench: Bench, node: Node) -> Proposals:
    """Everything that could be repaired on a node as it is now."""
    node_type = bench.type_of(node)
    if node_type is None:
        yield from classes.unknown(bench, node)
        return
    if node.inputs is None:
        change = Change(node.id, "", Kind.SET, None, {}, f"The node is broken: {node.oddity}.", True)
        yield Proposal((change,), (with_inputs(node, {}),))
        return
    if node.oddity:
        change = Change(node.id, "", Kind.SET, None, None, f"The node is broken: {node.oddity}.", True)
        yield Proposal((change,), (replace(node, oddity="", has_meta=True),))
        return
    yield from values.dynamic_combos(bench, node, node_type)
    checks = bench.checks(node, node_type)
    yield from names.renamed(bench, node, node_type, checks)
    for check in checks:
        yield from _of_input(bench, node, check)
    yield from classes.deprecated(bench, node, node_type)


def _of_input(bench: Bench, node: Node, check: InputCheck) -> Proposals:
    given = node.inputs or {}
    if check.name not in given:
        if check.required and declared(check).is_widget:
            yield from values.missing(bench, node, check)
        elif check.required:
            yield from links.unlinked(bench, node, check, "It is required but not linked")
        return
    value = given[check.name]
    if isinstance(value, tuple):
        yield from links.linked(bench, node, check, value)
        return
    fault = fault_of(check, value)
    if fault is not None:
        yield from values.refused(bench, node, check, value, fault)
    elif value is None:
        yield from values.null(bench, node, check)
    elif _wants_link(check):
        yield from links.unlinked(bench, node, check, f"It wants a link to {word(check)}, not a value")


def _wants_link(check: InputCheck) -> bool:
    """Whether no value can do where a link is meant; what a class of a custom node makes of a value is not known."""
    item = declared(check)
    return not item.is_widget and word(check) in _SOCKETS


_SOCKETS = frozenset({"IMAGE", "MASK", "LATENT", "MODEL", "CLIP", "VAE", "CONDITIONING", "AUDIO", "VIDEO"})
