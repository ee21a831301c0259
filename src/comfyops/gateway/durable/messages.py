"""What happens to a job of the queue, in the messages of ComfyUI's websocket. Pure.

The outputs and the end of a job are told only once everything is stored: a client that asks for files as soon as it
hears of them always finds them. Source: the messages of ComfyUI 0.33.0.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.gateway.durable import entries
from comfyops.jobs.job import Job, JobEvent, JobOutput, JobState
from comfyops.jobs.told import Told

Message = str | bytes

_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4
_JPEG, _PNG = 1, 2


def text(kind: str, data: Mapping[str, Any]) -> str:
    """One message."""
    return json.dumps({"type": kind, "data": data})


def status(remaining: int, sid: str | None = None) -> str:
    """How many jobs wait or run; `sid` in the first message of a socket."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return text("status", {**data, "sid": sid} if sid is not None else data)


class Run:
    """The messages of one job's run as its events come."""

    def __init__(self, job: str, *, metadata: bool) -> None:
        self._job = job
        self._metadata = metadata
        self._nodes: dict[str, str] = {}  # as JSON: each message of where the run is names every node so far
        self._at = ""
        self._most = 1.0  # of the node that it is at

    def of(self, event: JobEvent) -> Iterator[Message]:
        """The messages of an event."""
        stamp = {"prompt_id": self._job, "timestamp": int(event.at * 1000)}
        if event.type == "started":
            self._nodes.clear()
            yield text("execution_start", stamp)
        elif event.type == "cached":
            yield text("execution_cached", {"nodes": list(event.data.get("nodes", ())), **stamp})
        elif event.type == "node":
            yield from self._at_node(str(event.data["node"]))
        elif event.type == "progress":
            yield from self._progress(event.data)
        elif event.type == "preview":
            yield self._preview(event)
        elif event.type == "text":
            yield _words(str(event.data["node"]), str(event.data["text"]))

    def resumed(self, job: Job) -> Iterator[Message]:
        """What tells a client that comes in the middle of a run where it is."""
        if job.state is JobState.RUNNING and job.progress is not None and job.progress.node:
            yield from self._at_node(job.progress.node)

    def _at_node(self, node: str) -> Iterator[Message]:
        if self._at in self._nodes:
            self._set(self._at, self._most, self._most, "finished")
        self._at = node
        self._set(node, 0.0, 1.0, "running")
        yield self._state()
        yield text("executing", {"node": node, "display_node": node, "prompt_id": self._job})

    def _progress(self, data: Mapping[str, Any]) -> Iterator[Message]:
        node, value, maximum = str(data["node"]), data["value"], data["maximum"]
        self._set(node, value, maximum, "running")
        yield text("progress", {"value": value, "max": maximum, "prompt_id": self._job, "node": node})
        yield self._state()

    def _set(self, node: str, value: float, maximum: float, state: str) -> None:
        own = {"node_id": node, "prompt_id": self._job, "display_node_id": node, "parent_node_id": None}
        data = {"value": value, "max": maximum, "state": state, **own, "real_node_id": node}
        self._nodes[node] = f"{json.dumps(node)}: {json.dumps(data)}"
        if node == self._at:
            self._most = maximum

    def _state(self) -> str:
        nodes = ", ".join(self._nodes.values())
        return f'{{"type": "progress_state", "data": {{"prompt_id": {json.dumps(self._job)}, "nodes": {{{nodes}}}}}}}'

    def _preview(self, event: JobEvent) -> bytes:
        mime = str(event.data.get("mime_type", "image/jpeg"))
        if not self._metadata:
            return struct.pack(">II", _PREVIEW, _PNG if mime == "image/png" else _JPEG) + event.blob
        node = str(event.data.get("node", ""))
        own = {"node_id": node, "prompt_id": self._job, "display_node_id": node, "parent_node_id": None}
        head = json.dumps({**own, "real_node_id": node, "image_type": mime}).encode()
        return struct.pack(">II", _PREVIEW_WITH_METADATA, len(head)) + head + event.blob


def _words(node: str, words: str) -> bytes:
    name = node.encode()
    return struct.pack(">II", _TEXT, len(name)) + name + words.encode()


def ending(job: Job, outputs: tuple[JobOutput, ...], told: Told = entries.NOTHING_TOLD) -> Iterator[str]:
    """The last messages of a job that is over."""
    shown = entries.shown_by_node(outputs, told)
    for node, output in shown.items():
        yield text("executed", {"node": node, "display_node": node, "output": output, "prompt_id": job.id})
    yield text(*entries.ending(job, (*told.cached, *told.shown)))
    yield text("executing", {"node": None, "prompt_id": job.id})
