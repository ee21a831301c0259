"""A last look at what goes to a backend, by its own node types: what would break it is not sent.

Who took the job may not have known them: no backend was reached then, or another one was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyops.errors import RejectedError
from comfyops.workflows.checks.dangers import dangers, request_problems
from comfyops.workflows.checks.server import check
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Severity


def refuse(graph: Graph, raw: Mapping[str, Any], extra_data: Mapping[str, Any], types: NodeTypes) -> None:
    """Raise RejectedError for a graph, or data beside it, that would break a server with these node types.

    `raw` is the graph as JSON. A graph that the server itself refuses, it may refuse.
    """
    verdict = check(graph, types)
    outputs = verdict.good_outputs or [node.id for node in graph if _is_output(node.class_type, types)]
    request = {"client_id": "", "prompt": raw, "extra_data": dict(extra_data)}
    found = [*request_problems(request, modern=types.is_modern), *dangers(verdict.graph, types, outputs)]
    for problem in found:
        if problem.severity is Severity.DANGER:
            raise RejectedError(f"The server would break on this: {problem.message}", danger=problem.code)


def _is_output(class_type: str | None, types: NodeTypes) -> bool:
    return class_type is not None and class_type in types and types[class_type].is_output
