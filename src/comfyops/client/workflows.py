"""What somebody wants to run, as the JSON of graphs: files, templates and graphs, with values set."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.filling import fill
from comfyops.client.values import Upload
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import WorkflowInput, find, resolve
from comfyops.workflows.library import Library
from comfyops.workflows.opening import open_workflow

Workflow = str | Path | Mapping[str, Any] | Graph
"""A file or a template's name, the JSON of a graph in API format, or a graph."""

Values = Mapping[str, object]
"""Values by the names of inputs (`comfyops workflow inputs FILE`) or NODE.INPUT.

A value is a number or text, a local file that is uploaded, an `Upload`, or an output of another job."""


@dataclass(frozen=True, slots=True)
class Preparer:
    """Makes graphs for one gateway; templates of one's own are in `folders`."""

    server: ComfyUI
    folders: tuple[Path, ...]

    async def graphs(self, workflow: Workflow, rows: Sequence[Values]) -> list[dict[str, Any]]:
        """The JSON of the graph once for each row of values.

        Raises InputErrors, WorkflowFormatError, UnknownInputError, InvalidValueError, MissingFileError, BackendErrors.
        """
        raw = None
        if isinstance(workflow, Mapping) and not isinstance(workflow, Graph):
            raw = dict(workflow)
            if not any(rows):
                return [raw for _ in rows]
        graph, inputs = await self._read(workflow if raw is None else api_format.parse(raw), any(rows))
        return [await self._filled(graph, inputs, row) for row in rows]

    async def _read(self, workflow: Any, filling: bool) -> tuple[Graph, tuple[WorkflowInput, ...]]:
        if isinstance(workflow, Graph):
            return workflow, find(workflow, await self.server.node_types()) if filling else ()
        opened = await asyncio.to_thread(open_workflow, str(workflow), Library(self.folders, ()))
        if not filling and opened.pins is None and opened.found.prompt is not None:
            return opened.found.prompt, ()
        prepared = await asyncio.to_thread(opened.prepare, await self.server.node_types())
        return prepared.graph, tuple(prepared.inputs)

    async def _filled(self, graph: Graph, inputs: tuple[WorkflowInput, ...], row: Values) -> dict[str, Any]:
        references = {name: found for name, value in row.items() if (found := _reference(value)) is not None}
        plain = {name: value for name, value in row.items() if name not in references}
        if plain:
            graph_with = await fill(self.server, graph, inputs, plain, await self.server.node_types())
        else:
            graph_with = graph
        dumped = api_format.dump(graph_with)
        if not references:
            return dumped
        dumped = copy.deepcopy(dumped)
        for name, reference in references.items():
            for node, place in _places(graph, inputs, name):
                dumped[node]["inputs"][place] = reference
        return dumped


def _reference(value: object) -> dict[str, Any] | None:
    """The JSON of a value that stands for a file which the gateway has, or will have."""
    if isinstance(value, Upload):
        return value.reference()
    return dict(value) if isinstance(value, Mapping) else None


def _places(graph: Graph, inputs: tuple[WorkflowInput, ...], name: str) -> Iterator[tuple[str, str]]:
    found = resolve(graph, inputs, name)
    for place in found.targets if isinstance(found, WorkflowInput) else found:
        yield place.node, place.input
