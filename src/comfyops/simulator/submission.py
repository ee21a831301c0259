"""POST /prompt: from the parsed JSON to an item for the queue, or the server's refusal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from comfyops.errors import InputError
from comfyops.workflows import api_format
from comfyops.workflows.checks.custom import FileExists
from comfyops.workflows.checks.inputs import Fault
from comfyops.workflows.checks.server import Verdict, check
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

SENSITIVE = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of extra_data that the server takes out before it shows a prompt to anybody."""


class ServerTroubleError(Exception):
    """The real server answers with its bare 500."""


class RefusedError(Exception):
    """The server answers 400 with an error and the faults of nodes."""

    def __init__(self, error: Fault, node_errors: Mapping[str, Any] | None = None) -> None:
        super().__init__(error.message)
        self.body = {"error": fault_json(error), "node_errors": dict(node_errors or {})}


@dataclass(frozen=True)
class Submission:
    """An accepted prompt, not yet numbered: what to run and what to tell the client."""

    id: str
    prompt: Mapping[str, Any]
    extra_data: dict[str, Any]
    outputs: tuple[str, ...]
    node_errors: Mapping[str, Any]


def number_of(body: Any, counter: int) -> tuple[float, int]:
    """The place in the queue that a body asks for, and the counter afterwards.

    Raises ServerTroubleError.
    """
    if not isinstance(body, dict | list | str) or (not isinstance(body, dict) and "number" in body):
        raise ServerTroubleError("the body is no object")
    if isinstance(body, dict) and "number" in body:
        try:
            return float(body["number"]), counter
        except (TypeError, ValueError, OverflowError) as error:
            raise ServerTroubleError("the number is none") from error
    front = isinstance(body, dict) and body.get("front")
    return (-counter if front else counter), counter + 1


def accept(
    body: Any, types: NodeTypes, file_exists: FileExists, *, modern: bool, usage_source: str | None
) -> Submission:
    """Decide on a body.

    Raises RefusedError and ServerTroubleError.
    """
    if "prompt" not in body:
        raise RefusedError(Fault("no_prompt", "No prompt provided", "No prompt provided"))
    if not isinstance(body, dict):
        raise ServerTroubleError("the body is no object")
    prompt_id = _prompt_id(body, modern)
    prompt = _prompt(body["prompt"], modern)
    targets = body.get("partial_execution_targets")
    graph = _graph(prompt)
    verdict = check(graph, types, file_exists=file_exists, targets=None if targets is None else tuple(targets))
    extra_data = _extra_data(body, usage_source if modern else None, verdict.accepted)
    errors = node_errors(verdict)
    if verdict.error is not None:
        if verdict.error.type == "server_error":
            raise ServerTroubleError(verdict.error.details)
        raise RefusedError(_named(verdict.error, prompt, modern), errors)
    return Submission(prompt_id, _queued(prompt, graph, verdict.graph), extra_data, verdict.good_outputs, errors)


def is_job_id(value: object) -> bool:
    """Whether 0.33.0 takes this as a prompt id: a UUID, written in lower case with hyphens."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def fault_json(fault: Fault) -> dict[str, Any]:
    """A fault as the server writes it."""
    return {
        "type": fault.type,
        "message": fault.message,
        "details": fault.details,
        "extra_info": dict(fault.extra_info),
    }


def node_errors(verdict: Verdict) -> dict[str, Any]:
    """The `node_errors` of an answer."""
    return {
        node_id: {
            "errors": [fault_json(fault) for fault in faults],
            "dependent_outputs": list(verdict.dependents.get(node_id, ())),
            "class_type": verdict.graph[node_id].class_type,
        }
        for node_id, faults in verdict.node_faults.items()
    }


def _named(error: Fault, prompt: Mapping[str, Any], modern: bool) -> Fault:
    """The server tells a class_type that is null from one that is missing."""
    node = prompt.get(error.extra_info.get("node_id") or error.details.removeprefix("Node ID '#").removesuffix("'"))
    if error.type not in ("missing_node_type", "invalid_prompt") or not isinstance(node, dict):
        return error
    if node.get("class_type", "") is not None:
        return error
    if not modern:
        return replace(error, message="Cannot execute because node None does not exist.")
    title = error.extra_info.get("node_title")
    return replace(error, message=f"Node '{title}' not found. The custom node may not be installed.")


def _prompt_id(body: Mapping[str, Any], modern: bool) -> str:
    given = body.get("prompt_id")
    if modern and given is not None and not is_job_id(given):
        details = (
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            "omit it to let the server generate one"
        )
        raise RefusedError(Fault("invalid_prompt_id", "prompt_id must be a valid UUID", details))
    if modern:
        return str(given or uuid.uuid4())
    return str(given) if "prompt_id" in body else str(uuid.uuid4())


def _prompt(prompt: Any, modern: bool) -> dict[str, Any]:
    """The nodes. What is no object at all makes the real server fail, at the latest when it looks for classes."""
    if not modern and prompt == []:
        return {}
    if not isinstance(prompt, dict):
        raise ServerTroubleError("the prompt is no object")
    odd = [node for node in prompt.values() if not isinstance(node, dict)]
    if (modern and odd) or any(not isinstance(node, str | list) for node in odd):
        raise ServerTroubleError("a node is no object")
    if any(isinstance(node, dict) and isinstance(node.get("class_type"), dict | list) for node in prompt.values()):
        raise ServerTroubleError("a class_type is not hashable")
    return prompt


def _graph(prompt: Mapping[str, Any]) -> Graph:
    plain = {key: _flat(node) if isinstance(node, dict) else {} for key, node in prompt.items()}
    if not plain:
        return Graph({})
    try:
        return api_format.parse(plain)
    except (InputError, RecursionError) as error:
        raise ServerTroubleError(str(error)) from error


def _flat(node: dict[str, Any]) -> dict[str, Any]:
    """A node with no input nested more deeply than a graph may be: a server looks into none of them."""
    inputs, most = node.get("inputs"), api_format.MAX_NESTING
    if not isinstance(inputs, dict) or not api_format.is_nested(inputs, most):
        return node
    flat = {name: type(value)() if api_format.is_nested(value, most) else value for name, value in inputs.items()}
    return {**node, "inputs": flat}


def _extra_data(body: Mapping[str, Any], usage_source: str | None, accepted: bool) -> dict[str, Any]:
    given = body.get("extra_data", {})
    if not isinstance(given, dict):
        if accepted or given is None or "client_id" in body:
            raise ServerTroubleError("extra_data is no object")
        return {}
    extra = dict(given)
    if "client_id" in body:
        extra["client_id"] = body["client_id"]
    if usage_source and "comfy_usage_source" not in extra:
        extra["comfy_usage_source"] = usage_source
    for name in SENSITIVE:
        extra.pop(name, None)
    return extra


def _queued(prompt: Mapping[str, Any], graph: Graph, final: Graph) -> Mapping[str, Any]:
    """The prompt with the nodes that the server replaced."""
    if final is graph:
        return prompt
    replaced = api_format.dump(final)
    return {key: node if final[key] is graph[key] else replaced[key] for key, node in prompt.items()}
