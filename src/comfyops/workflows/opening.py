"""Opening workflows: from a file, a picture that carries one, or the library of templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comfyops.errors import MissingExtraError, MissingFileError, NotJsonError, UnknownTemplateError
from comfyops.support.files import read_bytes
from comfyops.workflows import embedded
from comfyops.workflows.embedded import Found
from comfyops.workflows.node_types import NodeTypes

if TYPE_CHECKING:
    from comfyops.workflows.inputs.pins import Pins, Prepared
    from comfyops.workflows.library import Library
    from comfyops.workflows.templates import Template

MAX_WORKFLOW = 512 * 1024 * 1024
"""Largest file that a workflow is read from, in bytes; media files are larger than their graph."""

_FILES = frozenset(
    [
        *(".json", ".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".svg", ".mp4", ".mov", ".mkv", ".webm"),
        *(".mp3", ".flac", ".ogg", ".opus", ".wav", ".glb", ".latent", ".txt"),
    ]
)
"""Endings of names that are files; the names of templates may hold other dots."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A workflow that was read: what its file holds, and what the file beside it says of its inputs."""

    name: str
    found: Found
    pins: Pins | None = None
    template: Template | None = None

    def prepare(self, types: NodeTypes) -> Prepared:
        """Its graph on a server with these node types, with its inputs.

        Raises WorkflowFormatError, UnknownInputError, InvalidValueError.
        """
        from comfyops.workflows.inputs import pins

        return pins.prepare(self.found.graph(types), types, self.pins)


def open_workflow(name: str, library: Library) -> Opened:
    """A workflow from a file, else the one of this name in the library.

    Raises MissingFileError, UnknownTemplateError with the nearest names, NotJsonError, WorkflowFormatError,
    NoWorkflowError.
    """
    path = Path(name)
    if path.exists() or path.suffix.lower() in _FILES:
        return _open_file(path, name)
    try:
        template = library.get(name)
    except UnknownTemplateError:
        if "/" in name or "\\" in name:
            raise MissingFileError(f"{name} does not exist.", path=name) from None
        raise
    except MissingExtraError as error:
        words = f"{name} is no file, and whether it is a template cannot be told: they are not installed."
        raise MissingFileError(words, hint=error.hint, path=name) from error
    if template.path is None:
        raise MissingFileError(f"{template.name} lies on a server.", path=name)
    opened = _open_file(template.path, name)
    return Opened(template.name, opened.found, opened.pins, template)


def open_bytes(data: bytes, name: str) -> Opened:
    """A workflow from the bytes of a file. Raises NotJsonError, WorkflowFormatError, NoWorkflowError."""
    if len(data) > MAX_WORKFLOW:
        raise NotJsonError(f"{name} is larger than any workflow ({MAX_WORKFLOW // 1024**2} MiB).")
    return Opened(name, embedded.workflows(data, name))


def _open_file(path: Path, name: str) -> Opened:
    opened = open_bytes(read_bytes(path, MAX_WORKFLOW + 1), name)
    return Opened(name, opened.found, read_pins(path))


def read_pins(workflow: Path) -> Pins | None:
    """What the file NAME.inputs.yaml beside a workflow says, None where there is none.

    Raises NotJsonError, WorkflowFormatError.
    """
    beside = workflow.with_name(f"{workflow.stem}.inputs.yaml")
    if not beside.is_file():
        return None
    from comfyops.support import yaml_text
    from comfyops.workflows.inputs import pins

    return pins.parse(yaml_text.loads(read_bytes(beside), str(beside)), str(beside))
