"""What differs between two graphs; ids do not count where the graphs are otherwise the same.

Nodes are matched by what they compute: their class, values, and all that feeds them (the same id first where several
do the same). What is left is matched by id, then by place: what feeds or uses matched nodes, then by class.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfyops.workflows.api_format import from_value
from comfyops.workflows.formatting import flow_order
from comfyops.workflows.graph import Graph, Link, Node, Value


class What(StrEnum):
    """What a difference is about."""

    ADDED = "node added"
    REMOVED = "node removed"
    CLASS = "class changed"
    TITLE = "title changed"
    INPUT = "input changed"
    INPUT_ADDED = "input added"
    INPUT_REMOVED = "input removed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `node` is the id on the left, `other` on the right ("" = the node is only on one side).

    `before` and `after` are JSON values; links on the right are shown with the ids of the right.
    """

    what: What
    node: str
    other: str
    class_type: str
    input: str = ""
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class Comparison:
    """The differences of two graphs, and which nodes were taken for the same (id on the left -> id on the right)."""

    differences: tuple[Difference, ...]
    matches: Mapping[str, str]

    @property
    def same(self) -> bool:
        """Whether both do the same; ids may differ."""
        return not self.differences


def diff(left: Graph, right: Graph) -> Comparison:
    """Compare two graphs."""
    matches = _Matcher(left, right).matches()
    found = [item for old, new in matches.items() for item in _of_node(left[old], right[new], matches, left)]
    taken = set(matches.values())
    removed = (Difference(What.REMOVED, node.id, "", node.class_type or "") for node in left if node.id not in matches)
    added = (Difference(What.ADDED, "", node.id, node.class_type or "") for node in right if node.id not in taken)
    return Comparison((*removed, *added, *found), matches)


def signatures(graph: Graph) -> dict[str, str]:
    """For each node a text that is the same for nodes that compute the same; circles are known by their class alone."""
    found: dict[str, str] = {}
    for key in flow_order(graph):
        node = graph[key]
        inputs = {name: _shape(value, found) for name, value in sorted((node.inputs or {}).items())}
        text = json.dumps([node.class_type, node.inputs is None, node.oddity, inputs], sort_keys=True)
        found[key] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return found


def _shape(value: Value, found: Mapping[str, str]) -> Any:
    if type(value) is Link:
        return {"link": [found.get(value.node, ""), value.slot]}
    return [type(value).__name__, from_value(value)]


class _Matcher:
    def __init__(self, left: Graph, right: Graph) -> None:
        self.left, self.right = left, right
        self.found: dict[str, str] = {}
        self.taken: set[str] = set()
        self.marks = signatures(left), signatures(right)

    def matches(self) -> dict[str, str]:
        marks, others = self.marks
        if Counter(marks.values()) != Counter(others.values()):
            self._same_ids(lambda old, new: marks[old] == others[new])
        self._by_group(marks, others)
        if self._ids_are_kept():
            self._same_ids(lambda old, new: self.left[old].class_type == self.right[new].class_type)
        self._by_group(_own_values(self.left), _own_values(self.right))
        self._by_place()
        self._by_group(*(self._labels(graph, titled=True) for graph in (self.left, self.right)))
        self._by_group(*(self._labels(graph, titled=False) for graph in (self.left, self.right)))
        self._same_ids(lambda old, new: True)
        return {key: self.found[key] for key in self.left.nodes if key in self.found}

    def _ids_are_kept(self) -> bool:
        """Whether most ids stand for a node of the same class on both sides."""
        same = sum(node.id in self.right and self.right[node.id].class_type == node.class_type for node in self.left)
        return 2 * same > min(len(self.left), len(self.right))

    def _pair(self, old: str, new: str) -> bool:
        if old in self.found or new in self.taken:
            return False
        self.found[old] = new
        self.taken.add(new)
        return True

    def _same_ids(self, alike: Any) -> None:
        for key in self.left.nodes:
            if key in self.right and key not in self.found and key not in self.taken and alike(key, key):
                self._pair(key, key)

    def _by_group(self, marks: Mapping[str, str], others: Mapping[str, str]) -> None:
        """Pair nodes with the same mark, from the outputs back, so that two equal chains are not mixed up."""
        groups: dict[str, list[str]] = defaultdict(list)
        for key in self._backwards(self.right, self.taken):
            groups[others[key]].append(key)
        for values in groups.values():
            values.reverse()  # taken from the end
        for key in self._backwards(self.left, self.found):
            self._pair_group(key, groups[marks[key]], marks, others)

    def _pair_group(self, key: str, group: list[str], marks: Mapping[str, str], others: Mapping[str, str]) -> None:
        while key not in self.found and group:
            new = key if key not in self.taken and others.get(key) == marks[key] else group.pop()
            if self._pair(key, new):
                self._walk(key, new, lambda old, other: marks[old] == others[other])

    def _walk(self, old: str, new: str, alike: Any) -> None:
        """Pair what feeds two matched nodes through inputs of the same name."""
        pending = [(old, new)]
        while pending:
            first, second = pending.pop()
            theirs = dict(self.right[second].links())
            for name, link in self.left[first].links():
                other = theirs.get(name)
                if other is None or link.node not in self.left or other.node not in self.right:
                    continue
                if alike(link.node, other.node) and self._pair(link.node, other.node):
                    pending.append((link.node, other.node))

    def _by_place(self) -> None:
        """Pair nodes of one class that feed matched nodes in the same way, or are fed by matched ones alike."""

        def alike(old: str, new: str) -> bool:
            return self.left[old].class_type == self.right[new].class_type

        for old, new in list(self.found.items()):
            self._walk(old, new, alike)
        self._by_group(self._fed(self.left, self.found), self._fed(self.right, {key: key for key in self.taken}))

    def _fed(self, graph: Graph, names: Mapping[str, str]) -> dict[str, str]:
        """Class and matched sources of each node; nodes without any get a mark of their own."""
        marks: dict[str, str] = {}
        for node in graph:
            links = sorted((name, names[link.node], link.slot) for name, link in node.links() if link.node in names)
            marks[node.id] = repr((node.class_type, links)) if links else repr((id(graph), node.id))
        return marks

    def _labels(self, graph: Graph, *, titled: bool) -> dict[str, str]:
        return {node.id: repr((node.class_type, node.title if titled else "")) for node in graph}

    @staticmethod
    def _backwards(graph: Graph, done: Iterable[str]) -> list[str]:
        gone = set(done)
        return [key for key in reversed(flow_order(graph)) if key not in gone]


def _own_values(graph: Graph) -> dict[str, str]:
    """For each node its class, title and values, without what feeds it."""
    return {node.id: repr((node.class_type, node.title, sorted(_scalars(node)))) for node in graph}


def _scalars(node: Node) -> Iterator[str]:
    return (repr((name, value)) for name, value in (node.inputs or {}).items() if type(value) is not Link)


def _of_node(old: Node, new: Node, matches: Mapping[str, str], left: Graph) -> Iterator[Difference]:
    words = new.class_type or ""
    if old.class_type != new.class_type:
        yield Difference(What.CLASS, old.id, new.id, words, "", old.class_type, new.class_type)
    if old.title != new.title:
        yield Difference(What.TITLE, old.id, new.id, words, "", old.title, new.title)
    before, after = old.inputs or {}, new.inputs or {}
    for name, value in before.items():
        if name not in after:
            yield Difference(What.INPUT_REMOVED, old.id, new.id, words, name, from_value(value), None)
        elif not _equal(value, after[name], matches, left):
            yield Difference(What.INPUT, old.id, new.id, words, name, from_value(value), from_value(after[name]))
    for name, value in after.items():
        if name not in before:
            yield Difference(What.INPUT_ADDED, old.id, new.id, words, name, None, from_value(value))


def _equal(old: Value, new: Value, matches: Mapping[str, str], left: Graph) -> bool:
    if type(old) is Link and type(new) is Link:
        known = matches.get(old.node, old.node if old.node not in left else None)
        return known == new.node and old.slot == new.slot
    return type(old) is type(new) and from_value(old) == from_value(new)
