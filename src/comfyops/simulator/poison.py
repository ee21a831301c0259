"""Prompts that a real server accepts and then breaks on, and what breaks. Only `faithful_poison` lets them do harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyops.simulator.cache import Prompt, link_of
from comfyops.simulator.faults import ProcessExitError, WorkerDiedError

_DEEPEST_MODERN = 979
_DEEPEST_OLDER = 981


def strike(prompt: Prompt, client_id: Any, *, modern: bool) -> None:
    """Do what this prompt does to a real server as it starts to run.

    Raises WorkerDiedError or ProcessExitError; returns for a harmless one.
    """
    if isinstance(client_id, dict | list):
        raise ProcessExitError("the client_id is not hashable")
    for node_id, node in prompt.items():
        if not isinstance(node.get("inputs"), Mapping):
            raise WorkerDiedError(f"node {node_id} has no inputs")
    if depth(prompt) > (_DEEPEST_MODERN if modern else _DEEPEST_OLDER):
        raise WorkerDiedError("the chain of nodes is too deep for the cache")


def depth(prompt: Prompt) -> int:
    """Length of the longest chain of nodes; a link that closes a cycle does not count."""
    depths: dict[str, int] = {}
    for start in prompt:
        path = [start]
        on_path = {start}
        while path:
            sources = [key for key in _sources(prompt[path[-1]]) if key in prompt]
            waiting = next((key for key in sources if key not in depths and key not in on_path), None)
            if waiting is not None:
                path.append(waiting)
                on_path.add(waiting)
            else:
                done = path.pop()
                on_path.discard(done)
                depths[done] = 1 + max((depths.get(key, 0) for key in sources), default=0)
    return max(depths.values(), default=0)


def _sources(node: Mapping[str, Any]) -> list[str]:
    links = (link_of(value) for value in (node.get("inputs") or {}).values())
    return [link[0] for link in links if link is not None]
