"""A smoke run: the smallest run of a workflow on a server, to see that its nodes and models work there."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.errors import ComfyOpsError, WaitTimeoutError
from comfyops.execution.run import OnEvent, cancel_quietly, run
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.smallest import Change, lacks_picture, smallest

_PICTURE = "comfyops-smoke.png"
_SIDE = 256  # pixels
_MODELS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """How a smoke run went: `outputs` files were made in `seconds`; `error` is empty where it went well.

    `stand_ins` are the pictures in whose place a grey one stood, because the server does not have them. `skipped` says
    why nothing was run, which is neither good nor bad.
    """

    name: str
    ok: bool
    seconds: float
    outputs: int
    changes: tuple[Change, ...]
    stand_ins: tuple[str, ...] = ()
    skipped: str = ""
    code: str = ""
    error: str = ""
    hint: str = ""


def distinct(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
    """One graph for each combination of node classes and texts that end like model files: those that show most."""
    found: dict[object, tuple[str, Graph]] = {}
    for name, graph in graphs.items():
        found.setdefault(_kind(graph), (name, graph))
    return dict(found.values())


async def smoke(
    name: str, graph: Graph, backend: Backend, *, timeout: float | None = None, on_event: OnEvent | None = None
) -> SmokeReport:
    """Run a workflow in its smallest form; its outputs are fetched and thrown away.

    `timeout` is in seconds. What goes wrong is in the report; only being cancelled is raised, which cancels the run.
    """
    types = await backend.node_types(refresh=True)
    used = {node.class_type for node in graph if node.class_type is not None}
    paid = sorted(name for name in used if name in types and types[name].is_api_node)
    if paid:
        why = f"it runs on services that cost money ({', '.join(paid)})"
        return SmokeReport(name, True, 0.0, 0, (), skipped=why)
    small = smallest(graph, types)
    began = time.monotonic()
    stand_ins: tuple[str, ...] = ()
    try:
        ready, stand_ins = await _with_pictures(small.graph, types, backend)
        with TemporaryDirectory(prefix="comfyops-smoke-") as folder:
            report = await run(ready, backend, Path(folder), timeout=timeout, on_event=on_event)
    except ComfyOpsError as error:
        if isinstance(error, WaitTimeoutError):
            await cancel_quietly(backend, error.facts["run_id"])
        said = {"code": error.code, "error": error.message, "hint": error.hint}
        return SmokeReport(name, False, time.monotonic() - began, 0, small.changes, stand_ins, **said)
    return SmokeReport(name, True, time.monotonic() - began, len(report.outputs), small.changes, stand_ins)


def _kind(graph: Graph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    classes = sorted({node.class_type or "" for node in graph})
    texts = (value for node in graph for value in (node.inputs or {}).values() if isinstance(value, str))
    return tuple(classes), tuple(sorted({text for text in texts if text.lower().endswith(_MODELS)}))


async def _with_pictures(graph: Graph, types: NodeTypes, backend: Backend) -> tuple[Graph, tuple[str, ...]]:
    """The graph with a grey picture in the place of each that the server does not have, and the names of those."""
    missing = [
        (node.id, name, value)
        for node in graph
        for name, value in (node.inputs or {}).items()
        if isinstance(value, str) and lacks_picture(types, node.class_type or "", name, value)
    ]
    if missing:
        uploaded = await backend.upload_image(_PICTURE, _grey(), overwrite=True)
        for node_id, name, _ in missing:
            graph = graph.with_input(node_id, name, uploaded)
        await backend.node_types(refresh=True)  # the picture is among its choices now
    return graph, tuple(dict.fromkeys(value for _, _, value in missing))


def _grey() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (128, 128, 128)).save(data, "PNG")
    return data.getvalue()
