"""What goes wrong in a simulated server, because it was asked to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfyops.simulator.files import Folders
from comfyops.simulator.settings import Faults

OOM_TIPS = (
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have "
    "accidentally set the batch_size to a large number."
)


class SimulatedFailureError(Exception):
    """A node fails because the simulator was told so."""


class OutOfMemoryError(Exception):
    """A node asks for more memory than the simulated GPU has; the answer is that of the real one."""

    type_name = "torch.OutOfMemoryError"

    def __init__(self) -> None:
        super().__init__("Allocation on device ")


class NodeNotFoundError(Exception):
    """A link leads to a node that is not there."""

    type_name = "comfy_execution.graph.NodeNotFoundError"

    def __init__(self, node_id: str) -> None:
        super().__init__(f"Node {node_id} not found")


class DependencyCycleError(Exception):
    """Nodes need their own results."""

    type_name = "graph.DependencyCycleError"


class WorkerDiedError(Exception):
    """The thread that runs prompts ends; HTTP goes on."""


class ProcessExitError(Exception):
    """The whole server process ends."""


def before_node(faults: Faults, class_type: str) -> None:
    """Fail a node of this class if that was asked for.

    Raises SimulatedFailureError and OutOfMemoryError.
    """
    if class_type and class_type == faults.fail_class:
        raise SimulatedFailureError(f"simulated failure of {class_type}")
    if class_type and class_type == faults.oom_class:
        raise OutOfMemoryError


def corrupt(folders: Folders, ui: Mapping[str, Any]) -> None:
    """Cut each file that a node shows to half its length."""
    for items in ui.values():
        for item in items if isinstance(items, list | tuple) else ():
            path = _file(folders, item)
            if path is not None:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _file(folders: Folders, item: Any) -> Path | None:
    if not isinstance(item, Mapping) or "filename" not in item:
        return None
    folder = folders.of_type(str(item.get("type", "")))
    path = None if folder is None else folder / str(item.get("subfolder", "")) / str(item["filename"])
    return path if path is not None and path.is_file() else None
