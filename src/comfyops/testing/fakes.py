"""A backend in memory: no server, no network, the same behaviour. Its pictures are plain squares, marked as fake."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from comfyops.backends.backend import Device, JobSummary, QueuedRun, SystemStats
from comfyops.backends.events import (
    Cached,
    Event,
    Failure,
    Finished,
    NodeFault,
    NodeFinished,
    NodeStarted,
    Outcome,
    Output,
    OutputKind,
    Queued,
    Started,
)
from comfyops.backends.submitting import checked_run_id
from comfyops.backends.watching import lost
from comfyops.errors import OutputGoneError, RejectedError
from comfyops.support.files import read_bytes, safe_path, write_bytes
from comfyops.workflows import api_format
from comfyops.workflows.checks.server import Verdict, check
from comfyops.workflows.graph import Graph, Node
from comfyops.workflows.node_types import NodeTypes, shipped


@dataclass
class _Run:
    graph: Graph
    outputs: tuple[str, ...]
    queued: Queued
    created_at: float
    order: int
    events: list[Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    running: bool = False
    end: Finished | None = None
    lost: bool = False

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()
        self.changed = asyncio.Event()


class FakeBackend:
    """Implements `Backend`. Checks graphs as a server does, then "runs" them one after the other.

    `types` are the node types it has (those of the newest shipped version by default), `seconds_per_node` the time that
    each node takes, `fail_classes` the classes of nodes that fail. Every picture is a 16 x 16 square, its color made
    from the graph that leads to it; LoadImage passes its picture on. `submitted` lists the graphs that were queued.
    """

    def __init__(
        self,
        *,
        types: NodeTypes | None = None,
        seconds_per_node: float = 0.0,
        fail_classes: tuple[str, ...] = (),
    ) -> None:
        self.url = "fake://memory"
        self.submitted: list[Graph] = []
        self.files: dict[tuple[str, str], bytes] = {}  # (folder type, path) -> bytes
        self._types = types or shipped()
        self._seconds_per_node = seconds_per_node
        self._fail_classes = fail_classes
        self._runs: dict[str, _Run] = {}
        self._cache: dict[str, tuple[Output, ...]] = {}
        self._worker: asyncio.Task[None] | None = None

    def restart(self) -> None:
        """Forget queue, history and cache, as a server does when it restarts."""
        for run in self._runs.values():
            run.lost = True
            run.stop.set()
            run.changed.set()
        self._runs, self._cache = {}, {}

    async def node_types(self, *, refresh: bool = False) -> NodeTypes:
        """See `Backend.node_types`."""
        if refresh:
            self._types = self._types.with_version(self._types.version)
        return self._types

    async def system_stats(self) -> SystemStats:
        """See `Backend.system_stats`."""
        memory = 8 * 1024**3
        return SystemStats(self._types.version, "", "fake", memory, memory, (Device("fake", "cpu", memory, memory),))

    async def submit(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> Queued:
        """See `Backend.submit`."""
        run_id = str(uuid4()) if run_id is None else checked_run_id(run_id)
        if run_id in self._runs:
            return self._runs[run_id].queued
        verdict = check(graph, self._types, file_exists=lambda folder, name: (folder, name) in self.files)
        faults = _faults(graph, verdict)
        if verdict.error is not None:
            raise _rejected(verdict, faults)
        order = len(self.submitted)
        dropped = dict.fromkeys(output for fault in faults for output in fault.outputs)
        queued = Queued(run_id, -order if front else order, faults, tuple(dropped))
        self.submitted.append(graph)
        self._runs[run_id] = _Run(graph, verdict.good_outputs, queued, time.time(), order)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return queued

    async def watch(self, run_id: str) -> AsyncIterator[Event]:
        """See `Backend.watch`."""
        run = self._known(run_id)
        told = 0 if run.end is None else len(run.events)
        while True:
            changed = run.changed
            while told < len(run.events):
                yield run.events[told]
                told += 1
            if run.lost:
                raise lost(run_id)
            if run.end is not None:
                yield run.end
                return
            await changed.wait()

    async def run(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> AsyncIterator[Event]:
        """See `Backend.run`."""
        queued = await self.submit(graph, run_id=run_id, front=front)
        yield queued
        async for event in self.watch(queued.run_id):
            yield event

    async def result(self, run_id: str) -> Finished | None:
        """See `Backend.result`."""
        return self._known(run_id).end

    async def cancel(self, run_id: str) -> bool:
        """See `Backend.cancel`."""
        run = self._runs.get(run_id)
        if run is None or run.end is not None:
            return False
        run.stop.set()
        if not run.running:
            self._finish(run, Outcome.INTERRUPTED, ())
        while run.end is None:
            await run.changed.wait()
        return run.end.outcome is Outcome.INTERRUPTED

    async def queue(self) -> tuple[QueuedRun, ...]:
        """See `Backend.queue`."""
        waiting = sorted(
            (run for run in self._runs.values() if run.end is None),
            key=lambda run: (not run.running, run.queued.number, run.order),
        )
        return tuple(QueuedRun(run.queued.run_id, run.queued.number, run.running, "fake") for run in waiting)

    async def jobs(self, limit: int = 50) -> tuple[JobSummary, ...]:
        """See `Backend.jobs`."""
        newest = sorted(self._runs.values(), key=lambda run: -run.order)[: max(1, limit)]
        return tuple(
            JobSummary(run.queued.run_id, _status(run), run.created_at, len(run.end.outputs) if run.end else 0)
            for run in newest
        )

    async def upload_image(self, name: str, data: bytes | Path, *, subfolder: str = "", overwrite: bool = False) -> str:
        """See `Backend.upload_image`."""
        data = read_bytes(data) if isinstance(data, Path) else data
        safe_path(Path(), name.replace("/", "\\"))
        path = safe_path(Path(), subfolder, name).as_posix()
        stem, dot, suffix = path.rpartition(".")
        copy = 0
        while not overwrite and self.files.get(("input", path), data) != data:
            copy += 1
            path = f"{stem} ({copy}){dot}{suffix}"
        self.files["input", path] = data
        return path

    async def upload_mask(self, name: str, data: bytes, original: Output) -> str:
        """See `Backend.upload_mask`."""
        picture = Image.open(io.BytesIO(await self.fetch(original))).convert("RGBA")
        mask = Image.open(io.BytesIO(data)).convert("RGBA")
        if picture.size != mask.size:
            raise RejectedError("The mask does not have the size of its picture.")
        picture.putalpha(mask.getchannel("A"))
        return await self.upload_image(name, _png(picture))

    async def fetch(self, output: Output) -> bytes:
        """See `Backend.fetch`."""
        if not output.filename:
            return output.text.encode()
        path = "/".join(filter(None, (output.subfolder, output.filename)))
        try:
            return self.files[output.folder_type, path]
        except KeyError:
            raise OutputGoneError(f"The file {path!r} of node {output.node} is not on the server any more.") from None

    async def fetch_to(self, output: Output, path: Path) -> None:
        """See `Backend.fetch_to`."""
        write_bytes(path, await self.fetch(output))

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """See `Backend.free`."""
        if free_memory:
            self._cache = {}

    def _known(self, run_id: str) -> _Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise lost(run_id) from None

    async def _work(self) -> None:
        while waiting := [entry for entry in await self.queue() if not entry.running]:
            run = self._runs[waiting[0].run_id]
            run.running = True
            await asyncio.sleep(0)
            await self._execute(run)

    async def _execute(self, run: _Run) -> None:
        run_id = run.queued.run_id
        keys = {node: _key(run.graph, node) for node in run.outputs}
        cached = tuple(node for node in run.outputs if keys[node] in self._cache)
        run.tell(Started(run_id))
        run.tell(Cached(run_id, cached))
        outputs: list[Output] = []
        for node in run.graph:
            needed = any(node.id in run.graph.upstream([out]) for out in run.outputs if out not in cached)
            if needed:
                run.tell(NodeStarted(run_id, node.id))
                failure = await self._pause(run, node)
                if run.stop.is_set() or failure:
                    self._finish(run, Outcome.FAILED if failure else Outcome.INTERRUPTED, tuple(outputs), failure)
                    return
            if node.id in run.outputs:
                made = self._cache.get(keys[node.id]) or tuple(self._make(run, node, keys[node.id]))
                self._cache[keys[node.id]] = made
                outputs.extend(made)
                run.tell(NodeFinished(run_id, node.id, made))
        self._finish(run, Outcome.SUCCESS, tuple(outputs), cached=set(cached) == set(run.outputs))

    async def _pause(self, run: _Run, node: Node) -> Failure | None:
        """Let the node take its time; why it fails, None where it does not."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.stop.wait(), self._seconds_per_node or 0.0001)
        class_type = node.class_type or ""
        if class_type in self._fail_classes:
            return Failure(node.id, class_type, "RuntimeError", "This node was told to fail.")
        try:
            self._picture(run.graph, node)
        except UnidentifiedImageError as error:
            return Failure(node.id, class_type, "PIL.UnidentifiedImageError", str(error))
        return None

    def _make(self, run: _Run, node: Node, key: str) -> list[Output]:
        source = next((run.graph[link.node] for _, link in node.links()), node)
        if node.class_type == "PreviewAny":
            text = str((source.inputs or {}).get("value", "fake"))
            return [Output(node.id, OutputKind.TEXT, folder_type="", text=text)]
        prefix = str((node.inputs or {}).get("filename_prefix", "fake"))
        name = f"{prefix.rpartition('/')[2]}_{len(self.files) + 1:05}_.png"
        picture = self._picture(run.graph, source) or Image.new("RGB", (16, 16), f"#{key[:6]}")
        self.files["output", name] = _png(picture)
        return [Output(node.id, OutputKind.IMAGE, name)]

    def _picture(self, graph: Graph, node: Node) -> Image.Image | None:
        """The picture that a LoadImage gives, None for other nodes."""
        if node.class_type != "LoadImage":
            return None
        data = self.files["input", str((node.inputs or {})["image"])]
        return Image.open(io.BytesIO(data))

    def _finish(
        self,
        run: _Run,
        outcome: Outcome,
        outputs: tuple[Output, ...],
        failure: Failure | None = None,
        *,
        cached: bool = False,
    ) -> None:
        run.running = False
        run.end = Finished(run.queued.run_id, outcome, outputs, cached, failure, run.created_at, time.time())
        run.changed.set()


def _status(run: _Run) -> str:
    if run.end is None:
        return "in_progress" if run.running else "pending"
    words = {Outcome.SUCCESS: "completed", Outcome.FAILED: "failed", Outcome.INTERRUPTED: "cancelled"}
    return words[run.end.outcome]


def _key(graph: Graph, node: str) -> str:
    """A hash of everything that leads to a node."""
    needed = graph.upstream([node])
    part = {key: value for key, value in api_format.dump(graph).items() if key in needed}
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def _png(picture: Image.Image) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("simulated", "made by comfyops.testing.FakeBackend")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _faults(graph: Graph, verdict: Verdict) -> tuple[NodeFault, ...]:
    return tuple(
        NodeFault(
            node,
            graph[node].class_type or "",
            fault.type,
            fault.message,
            fault.details,
            str(fault.extra_info.get("input_name", "")),
            verdict.dependents.get(node, ()),
        )
        for node, faults in verdict.node_faults.items()
        for fault in faults
    )


def _rejected(verdict: Verdict, faults: tuple[NodeFault, ...]) -> RejectedError:
    error = verdict.error
    reason = f"{error.message}: {error.details}" if error else ""
    if faults:
        reason = f"node {faults[0].node} ({faults[0].class_type}): {faults[0].message}: {faults[0].details}"
    return RejectedError(
        f"The server refused the workflow: {reason.rstrip('.: ')}.",
        type=error.type if error else "",
        node_errors=[asdict(fault) for fault in faults],
    )
