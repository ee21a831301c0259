"""The results of nodes that a simulated server keeps: those of the previous prompt (ComfyUI's `--cache-classic`).

A node's result is found again if its class, its constants and everything upstream of it are the same, whatever the ids
of the nodes. Nodes that read a file depend on the file's state too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfyops.workflows.node_types import NodeType, NodeTypes

Prompt = Mapping[str, Mapping[str, Any]]
_NEVER_CACHED = frozenset({"SaveImageWebsocket"})
_unique = itertools.count()


@dataclass(frozen=True)
class Entry:
    """What a node gave: a list of values per output, and what it shows (None = nothing)."""

    outputs: tuple[list[Any], ...]
    ui: Mapping[str, Any] | None

    def output(self, slot: Any) -> list[Any]:
        """The values of one output, as Python finds them by any number.

        Raises IndexError and TypeError.
        """
        return list(self.outputs)[slot]


def link_of(value: Any) -> tuple[str, Any] | None:
    """The (node id, slot) of a linked input, as the server recognises one; None for a constant.

    The slot is any number, also one by which nothing can be found.
    """
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float):
        return value[0], value[1]
    return None


def hidden_inputs(node_type: NodeType) -> dict[str, str]:
    """Hidden inputs of the older kind of node class, by name; the newer kind gets them in another way."""
    hidden = node_type.raw["input"].get("hidden") or {}
    return {name: word for name, word in hidden.items() if isinstance(word, str)}


class Cache:
    """Results by signature. `fingerprint(class, input, value)` adds what a constant alone does not say."""

    def __init__(self, types: NodeTypes, fingerprint: Callable[[str, str, Any], str]) -> None:
        self._types = types
        self._fingerprint = fingerprint
        self._entries: dict[str, Entry] = {}
        self._signatures: dict[str, str] = {}

    def begin(self, prompt: Prompt) -> None:
        """Prepare for a prompt, and drop all results that it cannot use."""
        self._signatures = signatures(prompt, self._node_part)
        used = set(self._signatures.values())
        self._entries = {key: entry for key, entry in self._entries.items() if key in used}

    def get(self, node_id: str) -> Entry | None:
        """The result of a node of the current prompt, None where it must run."""
        return self._entries.get(self._signatures.get(node_id, ""))

    def set(self, node_id: str, entry: Entry) -> None:
        """Keep the result of a node of the current prompt."""
        self._entries[self._signatures[node_id]] = entry

    def clear(self) -> None:
        """Drop everything."""
        self._entries = {}

    def _node_part(self, node_id: str, node: Mapping[str, Any]) -> Any:
        class_type = str(node.get("class_type"))
        constants = {
            name: [_text(value), self._fingerprint(class_type, name, value)]
            for name, value in _inputs(node).items()
            if link_of(value) is None
        }
        own: list[Any] = [class_type, constants]
        if class_type in _NEVER_CACHED:
            own.append(next(_unique))
        if class_type in self._types and "UNIQUE_ID" in hidden_inputs(self._types[class_type]).values():
            own.append(node_id)
        return own


def signatures(prompt: Prompt, node_part: Callable[[str, Mapping[str, Any]], Any]) -> dict[str, str]:
    """A digest per node of itself and all that is upstream; a cycle or a link to nowhere counts as a constant."""
    found: dict[str, str] = {}
    for start in prompt:
        path: dict[str, Iterator[str]] = {}
        pending = start
        while pending:
            path[pending] = iter(_sources(prompt[pending]))
            pending = ""
            while path and not pending:
                current, sources = next(reversed(path.items()))
                pending = next((key for key in sources if key in prompt and key not in found and key not in path), "")
                if not pending:
                    found[current] = _digest(prompt[current], node_part(current, prompt[current]), found)
                    del path[current]
    return found


def _sources(node: Mapping[str, Any]) -> list[str]:
    links = (link_of(value) for value in _inputs(node).values())
    return [link[0] for link in links if link is not None]


def _digest(node: Mapping[str, Any], own: Any, found: Mapping[str, str]) -> str:
    links = {}
    for name, value in _inputs(node).items():
        link = link_of(value)
        if link is not None:
            links[name] = [found.get(link[0], link[0]), link[1]]
    return hashlib.sha256(_text([own, links]).encode()).hexdigest()


def _inputs(node: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, Mapping) else {}


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, default=repr)
    except RecursionError:
        return f"too deep {next(_unique)}"
