"""The seam between the simulator's executor and the nodes it can run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.node_types import NodeType


class Host(Protocol):
    """What a node may ask of the server that runs it."""

    settings: SimulatorSettings
    input_folder: Path
    output_folder: Path
    temp_folder: Path

    async def pause(self, seconds: float) -> None:
        """Let simulated time pass; raises InterruptedRun as soon as the run is interrupted."""

    async def progress(self, value: int, maximum: int, preview: bytes | None = None) -> None:
        """Report progress of the running node; `preview` is a JPEG. Raises InterruptedRun once interrupted."""

    async def send_image(self, image: bytes) -> None:
        """Send a finished PNG to the run's client by websocket (SaveImageWebsocket)."""

    async def send_text(self, text: str) -> None:
        """Send a text to the run's client by websocket (binary type 3)."""

    async def load_model(self, folder: str, name: str) -> None:
        """Make a model file resident: costs load time once, evicts the least recently used ones when VRAM is full."""


class InterruptedRun(Exception):
    """The run was interrupted; raised inside nodes, never an error of theirs."""


@dataclass(frozen=True)
class NodeCall:
    """One node to run. `inputs` hold values: links are resolved to what the other node gave.

    For an `is_input_list` class every input is a list. `prompt` is the whole graph in API format and `extra_pnginfo`
    the client's extra data, for metadata of saved files.
    """

    node_id: str
    node_type: NodeType
    inputs: Mapping[str, Any]
    host: Host
    prompt: Mapping[str, Any]
    extra_pnginfo: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NodeResult:
    """What a node gave: one value per output, and what it shows in history ({"images": [...]}, None = nothing)."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] | None = field(default=None)


NodeFunction = Callable[[NodeCall], Awaitable[NodeResult]]
