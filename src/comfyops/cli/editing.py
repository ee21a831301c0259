"""Workflow files that a command reads, changes and writes back: what was there is copied first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyops import app as parts
from comfyops.errors import UsageError
from comfyops.support import backups
from comfyops.support.files import read_bytes, write_bytes
from comfyops.workflows import embedded
from comfyops.workflows.embedded import Found
from comfyops.workflows.formatting import api_text, merged
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True)
class Editable:
    """A workflow file: what it holds, and its JSON where it is a graph in API format (None = UI format or media)."""

    path: Path
    found: Found
    original: Any

    def graph(self, types: NodeTypes) -> Graph:
        """Its graph; of a workflow in UI format, the one that the editor would send."""
        return self.found.graph(types)

    def text(self, graph: Graph) -> str:
        """The text of the file with this graph in it."""
        return api_text(merged(self.original, graph))


@dataclass(frozen=True, slots=True)
class Written:
    """What was written ("" = nothing), and the id of the copy of what was there before ("" = there was nothing)."""

    file: str = ""
    backup: str = ""


def open_file(path: Path) -> Editable:
    """Read a workflow file. Raises InputError."""
    data = read_bytes(path, parts.MAX_WORKFLOW + 1)
    found = parts.open_bytes(data, str(path)).found
    original = None if embedded.is_picture(data) or found.prompt is None else json.loads(data)
    return Editable(path, found, original)


def check_options(file: Editable, write: bool, output: Path | None) -> None:
    """See that a graph can be written where it is asked to be.

    Raises UsageError for both places at once, and for a file that does not hold a graph in API format alone.
    """
    if write and output is not None:
        raise UsageError("Give either --write or -o FILE.")
    if write and file.original is None:
        words = f"{file.path} is not in API format, so its graph cannot be written back into it."
        raise UsageError(words, hint="Give -o FILE: the result is in API format.")


def save(source: Path, text: str, write: bool, output: Path | None, home: Path) -> Written:
    """Write a text back into its file or into another; a file that is there is copied first."""
    target = output or (source if write else None)
    if target is None:
        return Written()
    data = text.encode()
    if target.exists():
        return Written(str(target), backups.replace(target, data, home).id)
    write_bytes(target, data)
    return Written(str(target))


def notes(written: Written, what: str) -> list[str]:
    """What to tell a person of the writing."""
    from rich.markup import escape

    if not written.file:
        return [f"nothing is written; {what}"] if what else []
    kept = f"; what was there is kept as backup {written.backup[:34]}" if written.backup else ""
    return [f"written to {escape(written.file)}{kept}"]
