"""Which file of a server a text means, however it is written.

Source: ComfyUI 0.8.0 and 0.33.0, which read "name [output]" as a file of another folder, take any mark for the space in
it, and join and resolve paths; the older one also follows those that lead out of its folders.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from comfyops.gateway.owners import File, resolved
from comfyops.gateway.refusal import RefusedError
from comfyops.workflows.graph import Graph, Link, Node

_KINDS = ("input", "output", "temp")
_ABSOLUTE = re.compile(r"/(?=\S)|//|[A-Za-z]:[/\\]|\\\\")
_PLAIN = re.compile(r"[\w-][\w.-]*", re.ASCII)  # most texts: the names of samplers, models and files
_DATASETS = frozenset({"LoadTrainingDataset"})
"""Nodes that read what any training kept on the server; whose it is, nobody notes."""

_OVERWRITING = frozenset({"SaveTrainingDataset"})
"""Nodes that write files of fixed names into a folder, whatever lies there."""

_INTO_FOLDERS = frozenset({"SaveImageDataSetToFolder", "SaveImageTextDataSetToFolder"})
_OF_FOLDERS = re.compile(r"Load(?:Image|Video)(?:Text)?DataSetFromFolder")


async def check_files(
    graph: Graph, may_read_folder: Callable[[str], bool], may_name: Callable[[Node, str], Awaitable[bool]]
) -> None:
    """Raise RefusedError for a graph that reads what is not its owner's, by what is said of folders and names."""
    for node in graph:
        if node.class_type in _DATASETS:
            raise _not_yours(node.id, "folder_name")
        overwriting = overwritten_by(graph, node)
        if overwriting is not None:
            words = f"Node {node.id}: with this {overwriting} it may write over files of others."
            raise RefusedError(403, "not_your_file", words, details=f"Node {node.id}")
        folder = folder_read(node)
        if folder is not None and not may_read_folder(folder):
            raise _not_yours(node.id, "folder")
        for name, text in texts(node):
            if leads_out(text) or not await may_name(node, text):
                raise _not_yours(node.id, name)


def place(kind: str, subfolder: str, name: str) -> File | None:
    """The file of a name in a subfolder; None where that leads out of the folder, or is no name."""
    if not name or any(mark in name for mark in "/\\[\0") or name.startswith("blake3:"):  # which is any file's name
        return None
    path = resolved(f"{subfolder}/{name}".lstrip("/\\"))
    return None if path is None else _file(kind, path)


def texts(node: Node) -> Iterator[tuple[str, str]]:
    """(input name, text) of every text in the inputs of a node, also of those inside of lists and objects."""
    for name, value in (node.inputs or {}).items():
        for text in _texts(value):
            yield name, text


def leads_out(text: str) -> bool:
    """Whether a text is plainly a path out of a server's folders: an absolute one, or one that climbs above them."""
    if "/" not in text and "\\" not in text:
        return False
    folders = re.split(r"[/\\]", text.strip())
    if sum(part not in ("", ".") for part in folders) < 2 or "\n" in text:
        return False
    return _ABSOLUTE.match(text.strip()) is not None or (".." in folders and resolved(text.strip()) is None)


def named(text: str) -> tuple[str, tuple[File, ...]]:
    """The kind of folder that a text says its file is in ("" = it says none), and the files that it may mean."""
    if _PLAIN.fullmatch(text):
        return "", (File("input", "", text),)
    kind, names = _said(text)
    paths = {resolved(name.lstrip("/\\")) for name in names}
    return kind, tuple(_file(kind or "input", path) for path in sorted(path for path in paths if path))


def folder_read(node: Node) -> str | None:
    """The folder below input whose every file a node reads, resolved; None for a node that reads no folder."""
    if not _OF_FOLDERS.fullmatch(node.class_type or ""):
        return None
    folder = (node.inputs or {}).get("folder")
    return (resolved(folder.lstrip("/\\")) or "") if isinstance(folder, str) else ""


def overwritten_by(graph: Graph, node: Node) -> str | None:
    """The input for which a node that saves does not look whether its file is there already; None where it does look.

    Servers count on from the files whose names begin as the prefix is written: after "a/" there seem to be none.
    """
    inputs = node.inputs or {}
    if node.class_type in _OVERWRITING:
        return "folder_name"
    if node.class_type in _INTO_FOLDERS and inputs.get("mode") != "increment":
        return "mode"
    for name, value in inputs.items():
        if name in ("filename_prefix", "prefix") and _is_uncounted(_given(graph, value)):
            return name
    return None


def _given(graph: Graph, value: Any) -> Any:
    """A value, or what the node that it is linked to ends it with: its only text, or the last of several it joins."""
    if type(value) is not Link:
        return value
    source = graph.nodes.get(value.node)
    inputs = (source.inputs or {}) if source is not None else {}
    if source is not None and source.class_type == "StringConcatenate":
        return next((inputs[name] for name in ("string_b", "delimiter", "string_a") if inputs.get(name)), None)
    return next(iter(inputs.values())) if len(inputs) == 1 else None


def _is_uncounted(prefix: Any) -> bool:
    return isinstance(prefix, str) and re.split(r"[/\\]", prefix)[-1] in ("", ".", "..")


def _not_yours(node: str, name: str) -> RefusedError:
    words = f"Node {node}: {name} names a file that is not yours."
    return RefusedError(403, "not_your_file", words, details=f"Node {node}")


def _said(text: str) -> tuple[str, set[str]]:
    whole = text.rstrip()
    for kind in _KINDS:
        if whole.endswith(f"[{kind}]"):
            name = whole[: -len(kind) - 2]
            return kind, {name[:-1], name.strip()}
    return "", {text, text.strip()}


def _file(kind: str, path: str) -> File:
    folder, _, name = path.rpartition("/")
    return File(kind, folder, name)


def _texts(value: Any) -> Iterator[str]:
    if type(value) is Link:
        return
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
