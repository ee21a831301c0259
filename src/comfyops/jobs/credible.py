"""Pure: which outputs that a run told of may be its own.

A preview of a 3D model repeats the path that its workflow gave it: who sends a job could name a file of somebody else
there, and would get it as an output of his.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from comfyops.backends.events import Output, OutputKind

_REPEATING = frozenset({"Preview3D", "Preview3DAnimation"})
_RANDOM = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
"""A UUID in a name, as servers and nodes of partners put into it: nobody knows that of a file of others."""


def credible(outputs: Iterable[Output], graph: Mapping[str, Any] | None) -> list[Output]:
    """Those that the run made, as far as it can be told; `graph` is the job's, as JSON.

    What a preview names by a plain path counts where another node of the run tells of the same file.
    """
    outputs = list(outputs)
    places = {_place(output) for output in outputs if not _repeated(output, graph or {})}
    return [output for output in outputs if not _repeated(output, graph or {}) or _place(output) in places]


def _repeated(output: Output, graph: Mapping[str, Any]) -> bool:
    if output.kind is not OutputKind.MODEL_3D or not output.filename:
        return False
    node = graph.get(output.node)
    repeats = isinstance(node, Mapping) and node.get("class_type") in _REPEATING
    return repeats and (output.folder_type == "input" or _RANDOM.search(output.filename) is None)


def _place(output: Output) -> tuple[str, str, str]:
    return output.folder_type, output.subfolder, output.filename
