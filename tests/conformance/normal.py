"""Brings an answer of either side into a form in which equal answers are equal values."""

from __future__ import annotations

import re
from typing import Any

from comfyops.workflows.node_types import without_prose
from tests.conformance.trim import HEADERS, trimmed

_CHANGING = {
    "timestamp",
    "create_time",
    "execution_start_time",
    "execution_end_time",
    "modified",
    "created",
    "number",
    "priority",
    "ram_total",
    "ram_free",
    "size",
}
_UNORDERED = {"executed", "current_outputs", "nodes", "dependent_outputs"}  # Python sets on the real server
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SID = re.compile(r"\b[0-9a-f]{32}\b")
_COUNTED = re.compile(r"_\d{5}(?=[_.])")
_TENSOR = re.compile(r"tensor\(|^\[\[\[|^Latent\(")
_FOLDER = re.compile(r"(?<=')/[^' ]*/input/")
_TEMP = re.compile(r"_temp_[a-z]{5}")


def normal(data: Any, key: str = "") -> Any:
    """A JSON value without times, ids, counters and what depends on a set's order."""
    if key in _CHANGING and isinstance(data, int | float):
        return f"<{key}>"
    if isinstance(data, dict):
        return {_text(name): normal(item, name) for name, item in data.items() if name != "traceback"}
    if isinstance(data, list):
        items = [normal(item) for item in data]
        if key == "prompt" and len(items) == 5 and isinstance(items[4], list):
            return ["<number>", *items[1:4], sorted(items[4])]
        if key in _UNORDERED and all(isinstance(item, str) for item in items):
            return sorted(items)
        return items
    if isinstance(data, str):
        return "<tensor>" if _TENSOR.search(data) else _text(data)
    return data


def _text(text: str) -> str:
    text = _FOLDER.sub("/", text)
    return _TEMP.sub("_temp_x", _COUNTED.sub("_#", _SID.sub("<sid>", _UUID.sub("<id>", text))))


def normal_response(response: dict[str, Any]) -> dict[str, Any]:
    """A recorded or replayed HTTP answer."""
    headers = {key: value for key, value in response.get("headers", {}).items() if key in HEADERS}
    found: dict[str, Any] = {"status": response["status"], "headers": _normal_headers(headers)}
    if "json" in response:
        found["json"] = normal(trimmed(without_prose(response["json"])))
    elif isinstance(response.get("body"), str):
        found["body"] = response["body"]
    return found


def _normal_headers(headers: dict[str, str]) -> dict[str, str]:
    if headers.get("Content-Type") == "application/octet-stream" and len(headers) == 1:
        return {}  # an empty 404, which some routes send with this type and others without
    headers = dict(headers)
    if "Content-Range" in headers:
        headers["Content-Range"] = headers["Content-Range"].rpartition("/")[0]
    if "Allow" in headers:
        headers["Allow"] = ",".join(sorted(headers["Allow"].split(",")))
    return headers


def shape(data: Any) -> Any:
    """Only the names and kinds in a JSON value."""
    if isinstance(data, dict):
        return {key: shape(item) for key, item in data.items()}
    if isinstance(data, list):
        return [shape(data[0])] if data else []
    return "number" if isinstance(data, int | float) and not isinstance(data, bool) else type(data).__name__
