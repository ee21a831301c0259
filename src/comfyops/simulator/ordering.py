"""Which node runs next: only nodes that a wanted output needs, in the order of the real server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfyops.simulator.cache import Prompt, link_of


class Ordering:
    """The nodes still to run. A node is ready when everything it needs has run or is cached.

    `is_cached(id)` tells of nodes whose result is there, `is_output(id)` of output nodes, which go first, and
    `is_lazy(id, input)` of links that are only followed on `require`. `follow(id, slot)` is called with each link that
    is followed, and may raise; a link to a node that is not there leads no further.
    """

    def __init__(
        self,
        prompt: Prompt,
        is_cached: Callable[[str], bool],
        is_output: Callable[[str], bool],
        is_lazy: Callable[[str, str], bool],
        follow: Callable[[str, Any], None] = lambda source, slot: None,
    ) -> None:
        self._prompt = prompt
        self._is_cached = is_cached
        self._is_output = is_output
        self._is_lazy = is_lazy
        self._follow = follow
        self._waits_for: dict[str, set[str]] = {}  # in the order of adding
        self._needed_by: dict[str, dict[str, None]] = {}
        self._links: dict[str, dict[tuple[str, Any], None]] = {}  # (node, output) of those that follow a link to a node

    def add(self, node_id: str) -> None:
        """Want a node, and whatever it needs."""
        pending = [node_id]
        links: list[tuple[str, str]] = []
        while pending:
            current = pending.pop()
            if current in self._waits_for:
                continue
            self._waits_for[current] = set()
            self._needed_by[current] = {}
            for source in self._sources(current):
                if not self._is_cached(source):
                    pending.append(source)
                    links.append((source, current))
        for source, target in links:
            self._link(source, target)

    def require(self, node_id: str, name: str) -> bool:
        """Follow the lazy link of an input; tells whether the node must wait for it."""
        source = self._source(node_id, self._prompt[node_id]["inputs"][name])
        if source is None or self._is_cached(source):
            return False
        self.add(source)
        self._link(source, node_id)
        return True

    def slots(self, node_id: str) -> tuple[Any, ...]:
        """By which outputs of this node others wait for it."""
        return tuple(slot for _, slot in self._links.get(node_id, ()))

    def circling(self) -> str | None:
        """The first of the nodes that are left, when none of them can run: they are on a cycle or behind one."""
        return next(iter(self._waits_for), None)

    def next(self) -> str | None:
        """The node to run now, None when nothing is left (or only a cycle)."""
        ready = [key for key, waits in self._waits_for.items() if not waits]
        for choose in (self._is_output, self._feeds_output, self._feeds_feeder):
            for key in ready:
                if choose(key):
                    return key
        return ready[0] if ready else None

    def done(self, node_id: str) -> None:
        """A node has run."""
        del self._waits_for[node_id]
        for other in self._needed_by.pop(node_id):
            self._waits_for[other].discard(node_id)

    def _feeds_output(self, node_id: str) -> bool:
        return any(self._is_output(other) for other in self._needed_by[node_id])

    def _feeds_feeder(self, node_id: str) -> bool:
        return any(self._feeds_output(other) for other in self._needed_by[node_id])

    def _link(self, source: str, target: str) -> None:
        self._needed_by[source][target] = None
        self._waits_for[target].add(source)

    def _sources(self, node_id: str) -> list[str]:
        inputs: Mapping[str, Any] = self._prompt[node_id]["inputs"]
        eager = (value for name, value in inputs.items() if not self._is_lazy(node_id, name))
        sources = (self._source(node_id, value) for value in eager)
        return [source for source in sources if source is not None]

    def _source(self, node_id: str, value: Any) -> str | None:
        """Follow the link in an input; None where there is none, or where it leads nowhere."""
        link = link_of(value)
        if link is None:
            return None
        source, slot = link
        self._follow(source, slot)
        if source not in self._prompt:
            return None
        self._links.setdefault(source, {})[node_id, slot] = None
        return source
