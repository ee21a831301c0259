"""Workflows that travel inside files: ComfyUI writes the graph and the editor's workflow into what it saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfyops.errors import InputError, NoWorkflowError, UiFormatError
from comfyops.workflows import api_format, containers, convert
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds: the graph that was run (`prompt`), the editor's workflow as parsed JSON (`ui`), or both."""

    prompt: Graph | None
    ui: dict[str, Any] | None

    def graph(self, types: NodeTypes) -> Graph:
        """The graph that was run, else the one that the editor would send for its workflow.

        Raises WorkflowFormatError.
        """
        return self.prompt if self.prompt is not None else convert.to_api(self.ui or {}, types).graph


def workflows(data: bytes, where: str = "The file") -> Found:
    """The workflows in the bytes of a file: JSON in either format, or a picture, sound, film or model that carries one.

    Raises NotJsonError, WorkflowFormatError, NoWorkflowError.
    """
    if not is_picture(data):
        return _parsed(api_format.load_json(data, where), where)
    try:
        texts = containers.texts(data)
    except ValueError as error:
        raise NoWorkflowError(f"{where} carries no readable workflow: {error}.") from error
    inside = f"The workflow inside {where}"
    prompt, ui = None, None
    problem: InputError | None = None
    for key in ("prompt", "workflow"):
        if key in texts:
            try:
                found = _parsed(api_format.load_json(texts[key], inside), inside)
                prompt, ui = prompt or found.prompt, ui or found.ui
            except InputError as error:
                problem = error
    if prompt is None and ui is None:
        raise problem or NoWorkflowError(f"{where} is a file without an embedded workflow.")
    return Found(prompt, ui)


def read(data: bytes, where: str = "The file") -> Graph:
    """The graph in the bytes of a file, which is JSON in API format or a media file that carries it.

    Raises NotJsonError, UiFormatError, WorkflowFormatError, NoWorkflowError.
    """
    found = workflows(data, where)
    if found.prompt is None:
        raise UiFormatError(f"{where} is a workflow in UI format; the API format is needed here.")
    return found.prompt


def is_picture(data: bytes) -> bool:
    """Whether the bytes begin as a file of a kind that can carry a workflow, rather than as text."""
    return containers.kind_of(data) is not None


def _parsed(data: Any, where: str) -> Found:
    if api_format.is_ui_format(data):
        return Found(None, data)
    return Found(api_format.parse(data, where), None)
