"""What all runs of one simulated server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from comfyops.simulator.cache import Cache
from comfyops.simulator.call import NodeFunction
from comfyops.simulator.files import Folders
from comfyops.simulator.host import Interrupt, Load
from comfyops.simulator.settings import SimulatorSettings
from comfyops.simulator.sockets import Sockets
from comfyops.workflows.node_types import NodeType, NodeTypes


@dataclass
class Bench:
    """Everything a run works with, shared by all runs of one server."""

    settings: SimulatorSettings
    types: NodeTypes
    folders: Folders
    sockets: Sockets
    cache: Cache
    interrupt: Interrupt
    load: Load
    unload: Callable[[], None]
    function_for: Callable[[NodeType], NodeFunction]
    checkpoint: Callable[[], Awaitable[None]]  # called while a run is under way
    current: tuple[Any, str] | None = None  # (client id, node id) of the node that runs
    succeeded: bool = True  # how the node that ran last ended, in whichever run
