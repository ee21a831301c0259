"""What a server accepts and then breaks on: prompts that kill its worker or end its process, though it answered 200.

Source: the poison prompts tried on ComfyUI 0.8.0 and 0.33.0. After most of them HTTP goes on answering, but nothing
runs any more until somebody restarts the server. A server checks the inputs that a class has, of nodes that an output
needs; but it follows the links of all inputs of all nodes, and dies of those that lead nowhere or too deep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from comfyops.workflows.api_format import is_nested
from comfyops.workflows.checks.remembered import remembered
from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity

SAFE_DEPTH = 900
"""Longest chain of nodes that is safe; chains over about 980 kill the worker of a server."""

SAFE_NESTING = 400
"""Levels of JSON that are safe in a request; about 490 kill the worker of a server."""

_Followed: TypeAlias = tuple[str, str, float]  # name of the input, node, output

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def dangers(graph: Graph, types: NodeTypes | None = None, outputs: Iterable[str] | None = None) -> Iterator[Problem]:
    """The dangers in a graph, for a server that accepts it.

    `types` are the server's (None = not known), `outputs` the output nodes that it would run (None = any).
    """
    for node in graph:
        if node.inputs is None:
            words = (
                f"Node {node.id}: {node.oddity}, which ends the server's worker: nothing runs until it is restarted."
            )
            yield Problem(node.id, "", "inputs_missing", Severity.DANGER, words)
        yield from _odd_files(node)
    deepest, depth = longest_chain(graph) if len(graph) > SAFE_DEPTH else ("", 0)
    if depth > SAFE_DEPTH:
        words = f"Node {deepest} ends a chain of {depth} nodes; over {SAFE_DEPTH} come near to where servers break."
        yield Problem(deepest, "", "chain_too_deep", Severity.DANGER, words)
    yield from remembered(graph, lambda node: (source for _, source, _ in _followed(node)))
    for node, links in _running(graph, graph.nodes if outputs is None else outputs):
        yield from _wrong_links(node, links, graph, types)


def _odd_files(node: Node) -> Iterator[Problem]:
    """Objects like a camera's that nodes show as they are: a server takes them for files when it lists its jobs."""
    for name, value in (node.inputs or {}).items():
        if isinstance(value, Mapping | tuple) and type(value) is not Link and _holds_odd_file(value):
            words = (
                f"Node {node.id}: {name!r} holds an object whose filename or format is no text: a server that shows it "
                "can list no jobs until it forgets it."
            )
            yield Problem(node.id, name, "file_not_text", Severity.DANGER, words)


def _holds_odd_file(value: Any) -> bool:
    if isinstance(value, Mapping):
        odd = not isinstance(value.get("filename", ""), str) or not isinstance(value.get("format") or "", str)
        return odd or any(_holds_odd_file(item) for item in value.values())
    return isinstance(value, tuple) and any(_holds_odd_file(item) for item in value)


def _wrong_links(node: Node, links: Iterable[_Followed], graph: Graph, types: NodeTypes | None) -> Iterator[Problem]:
    """Links of a node that runs, to what is not there."""
    for name, source, slot in links:
        if source not in graph.nodes:
            words = f"Node {node.id}: {name!r} links to node {source[:40]!r}, which is not there; servers die of that."
            yield Problem(node.id, name, "link_to_missing_node", Severity.DANGER, words)
        elif type(slot) is not int or not 0 <= slot < _outputs(graph.nodes[source], types):
            words = f"Node {node.id}: {name!r} links to output {slot!r} of node {source[:40]!r}, which has no such one."
            yield Problem(node.id, name, "link_slot_missing", Severity.DANGER, words)


def _outputs(node: Node, types: NodeTypes | None) -> float:
    """How many outputs a node has, without end where that is not known."""
    if types is None or node.class_type is None or node.class_type not in types:
        return math.inf
    return len(types[node.class_type].outputs)


def _followed(node: Node) -> list[_Followed]:
    """Whatever a server follows as a link; it takes any number as an output."""
    found = []
    for name, value in (node.inputs or {}).items():
        if isinstance(value, tuple) and len(value) == 2:
            source, slot = value
            if isinstance(source, str) and isinstance(slot, int | float):
                found.append((name, source, slot))
    return found


def _running(graph: Graph, outputs: Iterable[str]) -> Iterator[tuple[Node, list[_Followed]]]:
    """These nodes and all that a server runs for them, with their links."""
    pending = list(outputs)
    found = set(pending)
    while pending:
        node = graph.nodes[pending.pop()]
        links = _followed(node)
        yield node, links
        for _, source, _ in links:
            if source not in found and source in graph.nodes:
                found.add(source)
                pending.append(source)


def longest_chain(graph: Graph) -> tuple[str, int]:
    """(last node, number of nodes) of the longest chain of links; nodes on a cycle or behind one count as a chain."""
    depth, left = _depths(graph)
    last = max(depth, key=depth.__getitem__, default="")
    deepest = depth.get(last, 0)
    return (left[0], deepest + len(left)) if left else (last, deepest)


def circling(graph: Graph) -> tuple[str, ...]:
    """The nodes on cycles of links, and those behind them; () where there is no cycle."""
    return _depths(graph)[1]


def _depths(graph: Graph) -> tuple[dict[str, int], tuple[str, ...]]:
    """How many nodes the longest chain to each node has; and those on a cycle or behind one, where it has no end."""
    users: dict[str, list[str]] = {key: [] for key in graph.nodes}
    waiting: dict[str, int] = {}
    for node in graph:
        sources = {source for _, source, _ in _followed(node) if source in users}
        waiting[node.id] = len(sources)
        for source in sources:
            users[source].append(node.id)
    depth = {key: 1 for key, count in waiting.items() if not count}
    ready = list(depth)
    for key in ready:  # grows while it is gone through
        deeper = depth[key] + 1
        for user in users[key]:
            waiting[user] -= 1
            if not waiting[user]:  # its deepest source comes last
                depth[user] = deeper
                ready.append(user)
    return depth, tuple(key for key, count in waiting.items() if count)


def request_problems(request: Mapping[str, object], *, modern: bool) -> Iterator[Problem]:
    """Problems of the fields beside the graph in the body of a POST /prompt."""
    extra = request.get("extra_data", {})
    beside = extra if isinstance(extra, dict) else {}
    client = request.get("client_id", beside.get("client_id"))
    if isinstance(client, dict | list):
        words = "The client_id is no string, which ends the server's whole process."
        yield Problem("", "", "client_id_not_text", Severity.DANGER, words)
    run_id = request.get("prompt_id")
    if modern and run_id is not None and not (isinstance(run_id, str) and _UUID.fullmatch(run_id)):
        words = "The prompt_id is no UUID in lowercase with hyphens, which the server refuses."
        yield Problem("", "", "invalid_prompt_id", Severity.ERROR, words)
    if not isinstance(extra, dict):
        words = "The extra_data is no object, on which the server fails with an internal error."
        yield Problem("", "", "server_error", Severity.ERROR, words)
    if not _is_picture_info(beside.get("extra_pnginfo", {})):
        words = (
            "The extra_pnginfo, or the workflow in it, is no object: the server can list no jobs until it forgets it."
        )
        yield Problem("", "", "extra_pnginfo_no_object", Severity.DANGER, words)
    if is_nested(request, SAFE_NESTING):
        words = f"The JSON is nested more than {SAFE_NESTING} levels deep; near 490 a server's worker dies of it."
        yield Problem("", "", "nested_too_deeply", Severity.DANGER, words)
    if "number" in request and run_id is not None:
        words = "A number together with a prompt_id ends the server's worker when it is sent three times."
        yield Problem("", "", "number_with_prompt_id", Severity.WARNING, words)


def _is_picture_info(info: object) -> bool:
    return isinstance(info, dict) and isinstance(info.get("workflow", {}), dict)
