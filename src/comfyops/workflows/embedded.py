"""Workflows that travel inside pictures: ComfyUI's SaveImage writes the graph into the PNG it saves."""

from __future__ import annotations

from comfyops.errors import NoWorkflowError
from comfyops.support import png_text
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph


def read(data: bytes, where: str = "The file") -> Graph:
    """The graph in the bytes of a file, which is JSON in API format or a PNG picture that carries it.

    Raises NotJsonError, UiFormatError, WorkflowFormatError, NoWorkflowError.
    """
    if not is_picture(data):
        return api_format.loads(data, where)
    try:
        texts = png_text.texts(data)
    except ValueError as error:
        raise NoWorkflowError(f"{where} cannot be read as a picture: {error}.") from error
    if "prompt" in texts:
        return api_format.loads(texts["prompt"], f"The workflow inside {where}")
    raise NoWorkflowError(f"{where} is a picture without an embedded workflow.")


def is_picture(data: bytes) -> bool:
    """Whether `read` takes these bytes for a picture."""
    return png_text.is_png(data)
