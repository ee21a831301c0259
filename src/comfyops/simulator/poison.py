"""Prompts that a real server accepts and then breaks on, and what breaks. Only `faithful_poison` lets them do harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyops.simulator.cache import Prompt, link_of
from comfyops.simulator.faults import ProcessExitError, WorkerDiedError
from comfyops.simulator.queue import Item
from comfyops.workflows.api_format import is_nested

_DEEPEST_MODERN, _DEEPEST_OLDER = 979, 981  # calls in each other, one for each node of a chain
_NESTED_MODERN, _NESTED_OLDER = 484, 485  # levels of JSON in an input for which the cache can make a key
_COPIED = 495  # levels of JSON, extra_data the first of them, that can be copied out of the queue


def grasp(item: Item) -> None:
    """Do what this prompt does to a real server as it is taken out of the queue, where it is gone afterwards.

    Raises WorkerDiedError; returns for a harmless one.
    """
    if is_nested([item.prompt, item.extra_data], _COPIED + 1):
        raise WorkerDiedError("the JSON is nested too deeply to be copied")


def strike(prompt: Prompt, client_id: Any, *, modern: bool) -> None:
    """Do what this prompt does to a real server as it starts to run.

    Raises WorkerDiedError or ProcessExitError; returns for a harmless one.
    """
    if isinstance(client_id, dict | list):
        raise ProcessExitError("the client_id is not hashable")
    for node_id, node in prompt.items():
        if not isinstance(node.get("inputs"), Mapping):
            raise WorkerDiedError(f"node {node_id} has no inputs")
    if is_too_deep(prompt, _DEEPEST_MODERN if modern else _DEEPEST_OLDER):
        raise WorkerDiedError("the chain of nodes is too deep for the cache")
    if is_nested([node["inputs"] for node in prompt.values()], 2 + (_NESTED_MODERN if modern else _NESTED_OLDER)):
        raise WorkerDiedError("the JSON of an input is nested too deeply for the cache")


def is_too_deep(prompt: Prompt, most: int) -> bool:
    """Whether a real server calls itself more than `most` times deep, as it looks for what is upstream of each node.

    From the same start it visits no node twice, except the start itself; a node that is not there counts too.
    """
    if len(prompt) + 2 <= most:
        return False
    sources = {key: _sources(node) for key, node in prompt.items()}
    return any(_goes_deeper(start, sources, most) for start in sources)


def _goes_deeper(start: str, sources: Mapping[str, list[str]], most: int) -> bool:
    seen: set[str] = set()
    path = [iter(sources[start])]
    while path and len(path) <= most:
        source = next((key for key in path[-1] if key not in seen), None)
        if source is None:
            path.pop()
        else:
            seen.add(source)
            path.append(iter(sources.get(source, ())))
    return bool(path)


def _sources(node: Mapping[str, Any]) -> list[str]:
    """The nodes that the inputs are linked to, in the order of the inputs' names."""
    links = (link_of(value) for _, value in sorted(node["inputs"].items()))
    return [link[0] for link in links if link is not None]
