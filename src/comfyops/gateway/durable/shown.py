"""What a node shows, told to clients as its server says it, but for the places of its files: those are kept here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comfyops.backends.outputs import outputs_of_node
from comfyops.jobs import output_names
from comfyops.jobs.job import JobOutput

_NOWHERE = ("fullpath",)  # a path on the server, which no client can reach


def file_item(output: JobOutput) -> dict[str, Any]:
    """A file as clients are told of it, to be asked for at /view."""
    subfolder = output_names.shown(output.job, output.subfolder)
    return {"filename": output.filename, "subfolder": subfolder, "type": output.folder_type}


class _MissingError(Exception):
    """A file that is shown is not kept."""


def as_kept(node: str, shown: Mapping[str, Any], outputs: Sequence[JobOutput]) -> dict[str, Any] | None:
    """What a node shows, by key, with its files where they are kept; None where one of them is not."""
    places = {(output.subfolder, output.filename, output.folder_type): output for output in outputs if output.filename}
    try:
        return {
            key: [_item(node, key, item, places) for item in items] if isinstance(items, list) else items
            for key, items in shown.items()
        }
    except _MissingError:
        return None


def _item(node: str, key: str, item: Any, places: Mapping[tuple[str, str, str], JobOutput]) -> Any:
    named = next(iter(outputs_of_node(node, {key: [item]})), None)
    if named is None or not named.filename:
        return item
    kept = places.get((named.subfolder, named.filename, named.folder_type))
    if kept is None:
        raise _MissingError
    place = file_item(kept)
    if isinstance(item, Mapping):
        return {**{name: value for name, value in item.items() if name not in _NOWHERE}, **place}
    return f"{place['subfolder']}/{place['filename']} [{place['type']}]"
