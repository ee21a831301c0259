"""What a server accepts and then breaks on: prompts that kill its worker or end its process, though it answered 200.

Source: the poison prompts tried on ComfyUI 0.8.0 and 0.33.0. After most of them HTTP goes on answering, but nothing
runs any more until somebody restarts the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from comfyops.workflows.graph import Graph
from comfyops.workflows.problems import Problem, Severity

SAFE_DEPTH = 900
"""Longest chain of nodes that is safe; chains over about 980 kill the worker of a server."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def dangers(graph: Graph) -> Iterator[Problem]:
    """The dangers in a graph, for a server that accepts it."""
    for node in graph:
        if node.inputs is None:
            words = (
                f"Node {node.id}: {node.oddity}, which ends the server's worker: nothing runs until it is restarted."
            )
            yield Problem(node.id, "", "inputs_missing", Severity.DANGER, words)
    deepest, depth = longest_chain(graph) if len(graph) > SAFE_DEPTH else ("", 0)
    if depth > SAFE_DEPTH:
        words = f"Node {deepest} ends a chain of {depth} nodes; over {SAFE_DEPTH} come near to where servers break."
        yield Problem(deepest, "", "chain_too_deep", Severity.DANGER, words)


def longest_chain(graph: Graph) -> tuple[str, int]:
    """(last node, number of nodes) of the longest chain of links; nodes on a cycle are left out of the count."""
    waiting: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for node in graph:
        sources = {link.node for _, link in node.links() if link.node in graph}
        waiting[node.id] = len(sources)
        for source in sources:
            users.setdefault(source, []).append(node.id)
    depth = {key: 1 for key, count in waiting.items() if count == 0}
    ready = list(depth)
    for key in ready:  # grows while it is gone through
        for user in users.get(key, ()):
            depth[user] = max(depth.get(user, 0), depth[key] + 1)
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    last = max(ready, key=depth.__getitem__, default="")
    return last, depth.get(last, 0)


def request_problems(request: Mapping[str, object], *, modern: bool) -> Iterator[Problem]:
    """Problems of the fields beside the graph in the body of a POST /prompt."""
    client = request.get("client_id", "")
    if isinstance(client, dict | list):
        words = "The client_id is no string, which ends the server's whole process."
        yield Problem("", "", "client_id_not_text", Severity.DANGER, words)
    run_id = request.get("prompt_id")
    if modern and run_id is not None and not (isinstance(run_id, str) and _UUID.fullmatch(run_id)):
        words = "The prompt_id is no UUID in lowercase with hyphens, which the server refuses."
        yield Problem("", "", "invalid_prompt_id", Severity.ERROR, words)
    if not isinstance(request.get("extra_data", {}), dict):
        words = "The extra_data is no object, on which the server fails with an internal error."
        yield Problem("", "", "server_error", Severity.ERROR, words)
    if "number" in request and run_id is not None:
        words = "A number together with a prompt_id ends the server's worker when it is sent three times."
        yield Problem("", "", "number_with_prompt_id", Severity.WARNING, words)
