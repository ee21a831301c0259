"""Links to nothing, from the wrong output, of the wrong shape, in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from comfyops.workflows.checks.inputs import InputCheck, link_parts, types_match
from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.repairs.bench import ANYTHING, Bench, declared, word
from comfyops.workflows.repairs.proposal import Proposal, Proposals, drop_input, set_input
from comfyops.workflows.repairs.values import default_of

_MOST_SOURCES = 200  # outputs that are compared with one another


def linked(bench: Bench, node: Node, check: InputCheck, value: tuple[Any, ...]) -> Proposals:
    """Repairs of an input whose value is a list: a link, or meant to be one."""
    parts = link_parts(value)
    if parts is None:
        yield from _cut(bench, node, check, value)
        return
    source, slot = parts
    if isinstance(source, int) and not isinstance(source, bool) and str(source) in bench.nodes:
        words = "The id of the node must be a text."
        yield from _rewritten(bench, node, check, (str(source), slot), words)
    elif not isinstance(source, str) or source not in bench.nodes:
        words = f"It is linked to node {source!r}, which is not there"
        yield from elsewhere(bench, node, check, words, dangling=True)
    elif bench.type_of(bench.nodes[source]) is None:
        return  # what a node of an unknown class gives is unknown too
    elif not isinstance(slot, int):
        yield from _rewritten(bench, node, check, (source, slot), "The number of the output must be a whole number.")
    else:
        yield from _from_output(bench, node, check, source, slot)


def unlinked(bench: Bench, node: Node, check: InputCheck, words: str) -> Proposals:
    """Repairs of an input that wants a link and has none."""
    yield from elsewhere(bench, node, check, words, dangling=True)


def elsewhere(
    bench: Bench, node: Node, check: InputCheck, words: str, *, dangling: bool, source: str | None = None
) -> Proposals:
    """Another output for an input: of the same node, of the only idle node, the only one in the graph; or none at all.

    `dangling` tells that there is nothing to lose at the other end, so that an optional link can go.
    """
    beside = bench.outputs_of(source, word(check)) if source is not None else []
    if len(beside) == 1 and word(check) not in ANYTHING and beside[0].node not in bench.downstream(node.id):
        why = f"{words}; output {beside[0].slot} of that node is the only one that fits."
        yield set_input(node, check.name, beside[0], why, certain=True)
        return
    lost = _lost(bench, node, check) if check.required or check.name in (node.inputs or {}) else None
    if lost is not None:
        why = f"{words}; node {lost.node} is the only one that fits among those whose results nobody takes."
        yield set_input(node, check.name, lost, why, certain=True)
    elif not check.required:
        if check.name in (node.inputs or {}):
            yield drop_input(node, check.name, f"{words}; the input is optional.", certain=dangling)
    else:
        yield from _in_graph(bench, node, check, words)
        filled = default_of(bench, node, check)
        if filled is not None:
            yield set_input(node, check.name, filled[0], f"{words}; {filled[1]}.", certain=False)


def cycles(bench: Bench, graph: Graph) -> Iterator[Proposal]:
    """Ways out of the first circle of links; which of its links is wrong can only be guessed."""
    path = circle(graph)
    links = [(graph[key], name, link) for key in path for name, link in graph[key].links() if link.node in path]
    ranked: list[tuple[int, Proposal]] = []
    for node, name, _ in links:
        node_type = bench.type_of(node)
        for check in bench.checks(node, node_type) if node_type else ():
            if check.name == name:
                words = f"The nodes {', '.join(path)} need one another"
                for proposal in elsewhere(bench, node, check, words, dangling=False):
                    ranked.append((_likelihood(bench, proposal), proposal))
    for _, proposal in sorted(ranked, key=lambda item: item[0]):
        yield _as_guess(proposal)


def circle(graph: Graph) -> tuple[str, ...]:
    """The nodes of one circle of links, in order; empty where there is none."""
    done: set[str] = set()
    for start in graph.nodes:
        path: dict[str, Iterator[str]] = {}
        if start not in done:
            path[start] = _needs(graph, start)
        while path:
            key = next(reversed(path))
            child = next(path[key], None)
            if child is None:
                path.pop(key)
                done.add(key)
            elif child in path:
                keys = list(path)
                return tuple(keys[keys.index(child) :])
            elif child not in done:
                path[child] = _needs(graph, child)
    return ()


def _needs(graph: Graph, key: str) -> Iterator[str]:
    return iter([link.node for _, link in graph[key].links() if link.node in graph])


def _cut(bench: Bench, node: Node, check: InputCheck, value: tuple[Any, ...]) -> Proposals:
    words = "It is no link, which is [node id, output number]"
    source = value[0] if value else None
    source = str(source) if type(source) is int else source
    if isinstance(source, str) and source in bench.nodes:
        slot = value[1] if len(value) > 1 and type(value[1]) is int else None
        outputs = bench.outputs_of(source, word(check))
        if slot is not None and Link(source, slot) in outputs:
            yield set_input(node, check.name, Link(source, slot), f"{words}; the rest is left out.", certain=True)
            return
        yield from elsewhere(bench, node, check, words, dangling=False, source=source)
    else:
        yield from elsewhere(bench, node, check, words, dangling=True)


def _rewritten(bench: Bench, node: Node, check: InputCheck, parts: tuple[str, Any], words: str) -> Proposals:
    """The link with its parts as they should be, where that is an output that fits."""
    source, slot = parts
    number = _slot(slot)
    if number is not None and Link(source, number) in bench.outputs_of(source, word(check)):
        yield set_input(node, check.name, Link(source, number), words, certain=True)
    else:
        yield from elsewhere(bench, node, check, words.rstrip("."), dangling=False, source=source)


def _slot(slot: Any) -> int | None:
    if isinstance(slot, str) and slot.isdecimal() and len(slot) < 6:
        return int(slot)
    if isinstance(slot, int) or (isinstance(slot, float) and slot.is_integer()):
        return int(slot)
    return None


def _from_output(bench: Bench, node: Node, check: InputCheck, source: str, slot: int) -> Proposals:
    node_type = bench.type_of(bench.nodes[source])
    outputs = node_type.raw["output"] if node_type else ()
    if not -len(outputs) <= slot < len(outputs):
        words = f"Node {source} has no output {slot}"
    elif types_match(outputs[slot], check.kind) or node.class_type == "TripoConversionNode":
        return
    else:
        words = f"It wants {word(check)}, not {outputs[slot]}"
    yield from elsewhere(bench, node, check, words, dangling=False, source=source)


def _in_graph(bench: Bench, node: Node, check: InputCheck, words: str) -> Proposals:
    found = list(islice(bench.sources(node.id, word(check)), _MOST_SOURCES))
    if not found:
        return
    best = found[0] if len(found) == 1 else _likeliest(bench, node, check, found)
    where = f"output {best.slot} of node {best.node}"
    if len(found) > 1:
        yield set_input(
            node, check.name, best, f"{words}; {where} is the likeliest of {len(found)} that fit.", certain=False
        )
        return
    sure = word(check) not in ANYTHING and bench.kind_of(best) not in ANYTHING and not declared(check).is_widget
    yield set_input(node, check.name, best, f"{words}; {where} is the only one that fits.", certain=sure)


def _lost(bench: Bench, node: Node, check: InputCheck) -> Link | None:
    """The output of this very type of the only node that nobody takes anything from, where it is no output node."""
    found: dict[str, list[Link]] = {}
    for link in islice(bench.sources(node.id, word(check)), _MOST_SOURCES):
        source = bench.type_of(bench.nodes[link.node])
        is_idle = source is not None and not source.is_output and not bench.takers(link.node)
        if is_idle and bench.kind_of(link) == word(check):
            found.setdefault(link.node, []).append(link)
    if len(found) != 1 or word(check) in ANYTHING:
        return None
    (links,) = found.values()
    return links[0] if len(links) == 1 else None


def _likeliest(bench: Bench, node: Node, check: InputCheck, found: Iterable[Link]) -> Link:
    """The output that nobody takes, or that inputs of the same name take, in the same subgraph, near by."""
    group = node.id.rpartition(":")[0]

    def rank(link: Link) -> tuple[bool, bool, int, bool]:
        names = bench.taken_as(link)
        return (
            bench.kind_of(link) != word(check),
            bool(names),
            -names[check.name],
            link.node.rpartition(":")[0] != group,
        )

    return min(found, key=rank)


def _likelihood(bench: Bench, proposal: Proposal) -> int:
    """Low for links to outputs that nobody takes, high for inputs that are left out."""
    value = (proposal.nodes[0].inputs or {}).get(proposal.changes[0].input)
    if type(value) is not Link:
        return 2
    return 1 if bench.taken_as(value) else 0


def _as_guess(proposal: Proposal) -> Proposal:
    return Proposal(tuple(replace(change, certain=False) for change in proposal.changes), proposal.nodes)
