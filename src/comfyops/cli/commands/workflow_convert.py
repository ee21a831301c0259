"""`comfyops workflow convert`: workflows from the editor's format into the server's, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.options import Json, Snapshot, Version
from comfyops.cli.output import Result
from comfyops.errors import InputError, MissingFileError, UsageError
from comfyops.support.files import read_bytes, write_text
from comfyops.workflows import api_format, convert, embedded, node_types
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem

MAX_FILE = 512 * 1024 * 1024
"""Largest file that is read, in bytes."""


class Format(StrEnum):
    """The two formats of workflows."""

    API = "api"
    UI = "ui"


@dataclass(frozen=True, slots=True)
class Converted:
    """One file: what it was written to ("" = it failed), what was odd about it, and the error's code and sentence."""

    file: str
    written: str
    warnings: tuple[Problem, ...] = ()
    error: str = ""
    message: str = ""


def run(
    paths: Annotated[list[Path], typer.Argument(help="Workflow files (JSON, or media with one inside) or folders.")],
    to: Annotated[Format, typer.Option("--to", help="api: what a server runs; ui: what the editor opens.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File, or folder for several, to write.")],
    nodes: Snapshot = None,
    comfyui_version: Version = None,
    as_json: Json = False,
) -> Result:
    """Convert workflows between the editor's format and the one that servers run.

    Files of a folder keep their names. Nodes are looked up in --nodes, else in the shipped facts of ComfyUI.
    """
    types = parts.offline_node_types(nodes, comfyui_version or node_types.SHIPPED[0])
    pairs = list(_targets(paths, output))
    if len({target for _, target in pairs}) < len(pairs):
        raise UsageError("Two of the workflows have the same name; convert them one by one.")
    single = len(paths) == 1 and not paths[0].is_dir()
    done = [_convert(source, target, to, types, strict=single) for source, target in pairs]
    failed = sum(not item.written for item in done)
    notes = [f"{len(done) - failed} converted, {failed} failed"] if len(done) > 1 else []
    return Result("workflow convert", done, _lines(done), notes, exit_code=1 if failed else 0)


def _targets(paths: list[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """(source, target) of each file.

    Raises MissingFileError.
    """
    if len(paths) == 1 and paths[0].is_file() and not output.is_dir():
        yield paths[0], output
        return
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield file, output / file.relative_to(path)
        elif path.exists():
            yield path, output / f"{path.stem}.json"
        else:
            raise MissingFileError(f"{path} does not exist.", path=str(path))


def _convert(source: Path, target: Path, to: Format, types: NodeTypes, *, strict: bool) -> Converted:
    """Convert one file. Where it is one of several (not strict), its error does not stop the others."""
    try:
        data, warnings = converted(read_bytes(source, MAX_FILE), str(source), to, types)
        write_text(target, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    except InputError as error:
        if strict:
            raise
        return Converted(str(source), "", error=error.code, message=error.message)
    return Converted(str(source), str(target), warnings)


def converted(data: bytes, where: str, to: Format, types: NodeTypes) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The JSON of one workflow in the wished format, and what was odd about it.

    Raises InputError.
    """
    found = embedded.workflows(data, where)
    if to is Format.UI:
        return found.ui if found.ui is not None else convert.to_ui(found.graph(types), types), ()
    if found.prompt is not None:
        return api_format.dump(found.prompt), ()
    conversion = convert.to_api(found.ui or {}, types, now=datetime.now())
    return api_format.dump(conversion.graph), conversion.warnings


def _lines(done: list[Converted]) -> Iterator[str]:
    for item in done:
        if item.written:
            yield escape(f"{item.file} -> {item.written}")
        else:
            yield f"{escape(item.file)}: [red]{item.error}[/] {escape(item.message)}"
        for problem in item.warnings:
            place = ".".join(part for part in (problem.node, problem.input) if part)
            yield f"  [yellow]warning[/] {escape(place + ': ' if place else '')}{escape(problem.message)}"
