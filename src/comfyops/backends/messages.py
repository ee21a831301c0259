"""Websocket frames of a ComfyUI server, made into values. Pure: no input or output.

Source: frames recorded from ComfyUI 0.33.0 and 0.8.0. Text frames are JSON `{"type", "data"}`, binary ones start with
a big-endian uint32 that tells their kind. Unknown kinds and damaged frames are `None`: servers and their custom nodes
send much that is no concern of ours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyops.backends.events import Cached, Event, NodeFinished, NodeStarted, Progress, Started
from comfyops.backends.json_text import loads
from comfyops.backends.outputs import outputs_of_node

FEATURE_FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
"""The first frame to send: asks for previews that say which run they belong to."""

_MIME_TYPES = {1: "image/jpeg", 2: "image/png"}


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """The server's queue changed (sent to everybody, often twice)."""


@dataclass(frozen=True, slots=True)
class FlagsAgreed:
    """The server's answer to FEATURE_FLAGS."""

    preview_metadata: bool


@dataclass(frozen=True, slots=True)
class Working:
    """A sign that the server's worker is alive, and nothing else that we need."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The run has ended, but the history may not have it yet."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last message of a run: the history has it."""

    run_id: str


@dataclass(frozen=True, slots=True)
class UnsignedPreview:
    """A picture that does not say which run it belongs to."""

    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedPreview:
    """A picture of a run; its `mime_type` as the server says it."""

    run_id: str
    node: str
    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """Words of a node, without saying which run it belongs to."""

    node: str
    text: str


Message = Event | QueueChanged | FlagsAgreed | Working | Ending | Ended | UnsignedPreview | SignedPreview | Text


def parse_text(frame: str) -> Message | None:
    """The meaning of a text frame, None where it has none for us."""
    if frame.startswith('{"type": "progress_state"'):
        return Working()  # repeats every node of the run at every step, up to megabytes: not worth parsing
    try:
        message = loads(frame)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("data"), dict):
        return None
    parse = _PARSERS.get(str(message.get("type")))
    return parse(message["data"]) if parse else None


def parse_binary(frame: bytes) -> Message | None:
    """The meaning of a binary frame, None where it has none for us."""
    if len(frame) < 8:
        return None
    kind, number = struct.unpack_from(">II", frame)
    if kind == 1:
        return UnsignedPreview(_MIME_TYPES.get(number, "image/jpeg"), frame[8:])
    head, rest = frame[8 : 8 + number], frame[8 + number :]
    if kind == 3 and len(head) == number:
        return Text(head.decode(errors="replace"), rest.decode(errors="replace"))
    if kind == 4 and len(head) == number:
        return _signed_preview(head, rest)
    return None


def _signed_preview(head: bytes, picture: bytes) -> SignedPreview | None:
    try:
        facts = json.loads(head)
        return SignedPreview(
            str(facts["prompt_id"]), str(facts.get("node_id", "")), str(facts.get("image_type", "image/jpeg")), picture
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def _flags(data: Mapping[str, Any]) -> Message:
    return FlagsAgreed(data.get("supports_preview_metadata") is True)


def _cached(data: Mapping[str, Any]) -> Message | None:
    run_id, nodes = _run_id(data), data.get("nodes")
    return Cached(run_id, tuple(map(str, nodes))) if run_id and isinstance(nodes, list) else None


def _executing(data: Mapping[str, Any]) -> Message | None:
    run_id, node = _run_id(data), data.get("node")
    if not run_id:
        return None
    return Ended(run_id) if node is None else NodeStarted(run_id, str(node))


def _progress(data: Mapping[str, Any]) -> Message | None:
    run_id, value, maximum = _run_id(data), data.get("value"), data.get("max")
    if not run_id or not isinstance(value, int | float) or not isinstance(maximum, int | float):
        return Working()
    return Progress(run_id, str(data.get("node") or ""), value, maximum)


def _executed(data: Mapping[str, Any]) -> Message | None:
    run_id = _run_id(data)
    if not run_id:
        return None
    node, shown = str(data.get("node")), data.get("output")
    shown = shown if isinstance(shown, Mapping) else {}
    return NodeFinished(run_id, node, tuple(outputs_of_node(node, shown)), shown)


def _started(data: Mapping[str, Any]) -> Message | None:
    run_id = _run_id(data)
    return Started(run_id) if run_id else None


def _ending(data: Mapping[str, Any]) -> Message | None:
    run_id = _run_id(data)
    return Ending(run_id) if run_id else None


def _run_id(data: Mapping[str, Any]) -> str:
    run_id = data.get("prompt_id")
    return run_id if isinstance(run_id, str) else ""


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Message | None]] = {
    "status": lambda data: QueueChanged(),
    "feature_flags": _flags,
    "progress_state": lambda data: Working(),
    "execution_start": _started,
    "execution_cached": _cached,
    "executing": _executing,
    "progress": _progress,
    "executed": _executed,
    "execution_success": _ending,
    "execution_error": _ending,
    "execution_interrupted": _ending,
}
