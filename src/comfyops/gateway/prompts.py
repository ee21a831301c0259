"""Pure: what of a POST /prompt reaches a server, and what never does.

Everything is read, checked and written anew; nothing of the original bytes is passed on. A server trusts its clients in
ways that end its worker or its process (see docs/gateway.md), so each of those is refused here.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from comfyops.errors import InputError
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Classes, Limits
from comfyops.workflows import api_format
from comfyops.workflows.checks.dangers import circling, dangers
from comfyops.workflows.checks.server import Verdict, check
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

LONGEST_CLIENT = 200
"""Characters of a client_id."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LONGEST_KEY = 200
_DOUBTFUL = re.compile(rb"\\u[dD][89a-fA-F]|[0-9][eE]\+?[0-9]{3}|[0-9]{300}")
"""In a JSON text: what may be half a character, or a number that Python reads as infinite."""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST /prompt body whose form is right. `raw` is its graph as JSON, `client` "" where none was given."""

    raw: dict[str, Any]
    graph: Graph
    job: str
    client: str
    extra: dict[str, Any]
    front: bool
    number: float | None
    targets: tuple[str, ...] | None


def read(body: bytes, limits: Limits) -> Request:
    """The request in a body. Raises RefusedError for anything that has not the form of one."""
    return parse(read_json(body, limits), limits)


def parse(data: Any, limits: Limits) -> Request:
    """The request in JSON that was read. Raises RefusedError for anything that has not the form of one."""
    if not isinstance(data, dict):
        raise RefusedError(400, "no_prompt", "The body is no JSON object with a prompt.")
    raw = data.get("prompt")
    if not isinstance(raw, dict) or not raw:
        raise RefusedError(400, "no_prompt", "The body holds no prompt: an object of nodes.")
    if len(raw) > limits.nodes:
        raise RefusedError(413, "too_many_nodes", f"The workflow has more than {limits.nodes} nodes.")
    try:
        graph = api_format.parse({"prompt": raw}, "The prompt")
    except InputError as error:
        raise RefusedError(400, error.code, error.message) from error
    for node in graph:
        if node.oddity or node.class_type is None or len(node.id) > _LONGEST_KEY:
            words = f"Node {node.id[:40]!r} is malformed: {node.oddity or 'it has no class_type'}."
            raise RefusedError(400, "invalid_node", words)
    return Request(
        raw,
        graph,
        _job(data),
        _client(data),
        extra_data(data.get("extra_data", {})),
        _front(data),
        _number(data),
        _targets(data),
    )


def read_json(body: bytes, limits: Limits) -> Any:
    """JSON of bounded depth, of finite numbers and of text that can be written as UTF-8. Raises RefusedError."""
    encoding = json.detect_encoding(body)
    try:
        data = _decoder.decode(body.decode(encoding))
    except (ValueError, RecursionError):
        raise RefusedError(400, "not_json", "The body is not JSON, or nested too deeply.") from None
    if _DOUBTFUL.search(body) or not encoding.startswith("utf-8"):
        _check_values(data)
    deep = body.count(b"{") + body.count(b"[") > limits.nesting  # fewer cannot be nested so far, in any encoding
    if deep and api_format.is_nested(data, limits.nesting):
        raise RefusedError(400, "too_deep", f"The JSON is nested more than {limits.nesting} levels deep.")
    return data


def _check_values(data: Any) -> None:
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "not_text", "The JSON holds a half of a character (a lone surrogate).") from None
    except (ValueError, RecursionError):
        raise RefusedError(400, "not_json", "The JSON holds a number beyond all bounds, or is too deep.") from None


def judge(request: Request, types: NodeTypes) -> Verdict:
    """What a server with these node types says of the graph. Raises RefusedError for what would break it."""
    verdict = check(request.graph, types, targets=request.targets)
    if verdict.accepted:
        avert(verdict.graph, types, verdict.good_outputs)
    return verdict


def avert(graph: Graph, types: NodeTypes | None = None, outputs: tuple[str, ...] | None = None) -> None:
    """Raise RefusedError for a graph that would break a server with these node types (None = not known).

    `outputs` are the nodes that it would run (None = any).
    """
    for danger in dangers(graph, types, outputs):
        raise RefusedError(400, danger.code, danger.message)
    if circle := circling(graph):
        words = f"Nodes need their own results: {', '.join(key[:40] for key in circle[:5])}."
        raise RefusedError(400, "dependency_cycle", words)


def refuse(verdict: Verdict) -> NoReturn:
    """Say no as ComfyUI does, so that its clients show each node's errors."""
    fault = verdict.error
    assert fault is not None
    raise RefusedError(400, fault.type, fault.message, details=fault.details, node_errors=node_errors(verdict))


def node_errors(verdict: Verdict) -> dict[str, Any]:
    """What is wrong with each node, in ComfyUI's shape."""
    return {
        node_id: {
            "errors": [_fault(item) for item in faults],
            "dependent_outputs": list(verdict.dependents.get(node_id, ())),
            "class_type": _class_of(verdict.graph, node_id),
        }
        for node_id, faults in verdict.node_faults.items()
    }


def permit(graph: Graph, classes: Classes | None) -> None:
    """Raise RefusedError where a node's class is not for this role."""
    if classes is None:
        return
    for node in graph:
        if not classes.permits(node.class_type or ""):
            words = f"Nodes of class {(node.class_type or '')[:100]!r} are not allowed for you."
            raise RefusedError(403, "class_not_allowed", words, details=f"Node {node.id}")


def written(request: Request, client: str, *, ahead: bool, turn: int | None = None) -> bytes:
    """The body for the server: our name for the client, `_meta` everywhere; `ahead` keeps front and number.

    `turn` is the number of a job that has, or may have, none of its own.
    """
    prompt = {key: node if "_meta" in node else {**node, "_meta": {}} for key, node in request.raw.items()}
    body: dict[str, Any] = {"prompt": prompt, "client_id": client, "prompt_id": request.job}
    extra = {key: value for key, value in request.extra.items() if key != "client_id"}
    if extra:
        body["extra_data"] = extra
    if request.targets is not None:
        body["partial_execution_targets"] = list(request.targets)
    if ahead and request.front:
        body["front"] = True
    elif ahead and request.number is not None:
        body["number"] = request.number
    elif turn is not None:
        body["number"] = turn
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def extra_data(given: Any) -> dict[str, Any]:
    """What is said beside a graph, as a server can stand it. Raises RefusedError."""
    if not isinstance(given, dict):
        raise RefusedError(400, "invalid_extra_data", "The extra_data is no object.")
    info = given.get("extra_pnginfo")
    workflow = info.get("workflow") if isinstance(info, dict) else None
    if not isinstance(info, dict | None) or not isinstance(workflow, dict | None):
        # a server that has one such job, or nothing in one of the two places, fails on every GET /api/jobs
        words = "The extra_pnginfo in extra_data, or the workflow in it, is no object."
        raise RefusedError(400, "invalid_extra_data", words)
    if "extra_pnginfo" in given and workflow is None:
        return {**given, "extra_pnginfo": {name: value for name, value in (info or {}).items() if name != "workflow"}}
    return given


def is_job_id(text: object) -> bool:
    """Whether this is the form in which every job has its id."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def new_job_id() -> str:
    """An id for a job, by its time (UUID version 7, RFC 9562): ids that follow each other are next to each other in
    every index, so that to note many jobs at once touches few pages."""
    chance = int.from_bytes(_chance(), "big")
    number = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | (chance >> 68) << 64 | 2 << 62 | chance & (1 << 62) - 1
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_spare: list[bytes] = []


def _chance() -> bytes:
    """Ten bytes that nobody can guess. Fetched many at a time: each call of the system lets other threads go first."""
    try:
        return _spare.pop()
    except IndexError:
        many = os.urandom(10 * 256)
        _spare.extend(many[start : start + 10] for start in range(10, len(many), 10))
        return many[:10]


def _job(data: Mapping[str, Any]) -> str:
    given = data.get("prompt_id")
    if given is None:
        return new_job_id()
    if not is_job_id(given):
        raise RefusedError(400, "invalid_prompt_id", "The prompt_id is no UUID in lowercase with hyphens.")
    return str(given)


def _client(data: Mapping[str, Any]) -> str:
    given = data.get("client_id")
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > LONGEST_CLIENT:
        raise RefusedError(400, "invalid_client_id", "The client_id is no string of reasonable length.")
    return given


def _front(data: Mapping[str, Any]) -> bool:
    given = data.get("front", False)
    if not isinstance(given, bool):
        raise RefusedError(400, "invalid_front", "`front` is neither true nor false.")
    return given


def _number(data: Mapping[str, Any]) -> float | None:
    given = data.get("number")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < 2**53:
        raise RefusedError(400, "invalid_number", "`number` is no number of reasonable size.")
    return given


def _targets(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    given = data.get("partial_execution_targets")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise RefusedError(400, "invalid_targets", "The partial_execution_targets are no list of node ids.")
    return tuple(given)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _fault(fault: Any) -> dict[str, Any]:
    extra = {key: value for key, value in fault.extra_info.items() if key != "traceback"}
    return {"type": fault.type, "message": fault.message, "details": fault.details, "extra_info": extra}


def _class_of(graph: Graph, node_id: str) -> str:
    node = graph.nodes.get(node_id)
    return (node.class_type or "") if node else ""
