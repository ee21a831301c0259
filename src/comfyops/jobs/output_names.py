"""Names of outputs as clients see them. Pure.

Each backend counts its files anew, so two jobs may both have made "ComfyUI_00001_.png". An output is therefore shown in
a subfolder of its job: "jobs/ID", or "jobs/ID/portraits" where the backend had put it into "portraits".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FOLDER = "jobs"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHOWN = re.compile(rf"{_FOLDER}/({_UUID})(?:/(.*))?", re.DOTALL)
_NAMED = re.compile(rf"{_FOLDER}/({_UUID})/(?:(.*)/)?([^/]+?)(?: \[(output|temp)\])?", re.DOTALL)


def shown(job: str, subfolder: str) -> str:
    """The subfolder that clients are told."""
    return f"{_FOLDER}/{job}/{subfolder}" if subfolder else f"{_FOLDER}/{job}"


def parse(subfolder: str) -> tuple[str, str] | None:
    """The job and the backend's subfolder of a subfolder that clients were told; None for any other."""
    found = _SHOWN.fullmatch(subfolder)
    return None if found is None else (found[1], found[2] or "")


def named(text: str) -> tuple[str, str, str] | None:
    """(job, subfolder, file name) of an output that an input's text names, such as "jobs/ID/a.png [output]"."""
    found = _NAMED.fullmatch(text)
    return None if found is None else (found[1], found[2] or "", found[3])


def outputs_named(graph: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The outputs that a graph names, by node and input."""
    found = {}
    for node, content in graph.items():
        inputs = content.get("inputs") if isinstance(content, dict) else None
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            if isinstance(value, str) and (output := named(value)) is not None:
                found[node, name] = output
    return found
