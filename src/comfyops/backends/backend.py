"""The contract of a backend: what everything above asks of a ComfyUI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from comfyops.backends.events import Event, Finished, Output, Queued
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a server; sizes in bytes."""

    name: str
    kind: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True, slots=True)
class SystemStats:
    """What a server says of itself; `version` is ComfyUI's, sizes in bytes."""

    version: str
    python_version: str
    os: str
    ram_total: int
    ram_free: int
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """One entry of a server's queue. Runs go in the order of `number`, then of arrival."""

    run_id: str
    number: float
    running: bool
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One job as a server lists it: status is pending, in_progress, completed, failed or cancelled; times are epoch seconds."""

    run_id: str
    status: str
    created_at: float | None
    outputs_count: int


class Backend(Protocol):
    """One ComfyUI server. Every method raises errors of `BackendError` only.

    A run is named by `run_id`, a canonical lowercase UUID that the caller may choose. Methods may be called from many
    tasks at once.
    """

    url: str

    async def node_types(self, *, refresh: bool = False) -> NodeTypes:
        """The server's node types, kept until `refresh` or until the server restarts as another version."""

    async def system_stats(self) -> SystemStats:
        """Version, memory, devices."""

    async def submit(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> Queued:
        """Queue a graph and return its id and number. With a given `run_id`, a run of that id is never queued twice.

        Raises RejectedError with the server's node errors.
        """

    def watch(self, run_id: str) -> AsyncIterator[Event]:
        """Events of a run of this client, ending with Finished. Raises RunLostError, StalledError."""

    async def result(self, run_id: str) -> Finished | None:
        """The end of a run, None while it is pending or running. Raises RunLostError where the server knows it not."""

    async def cancel(self, run_id: str) -> bool:
        """Stop a run, pending or running; False where there was nothing to stop."""

    async def queue(self) -> tuple[QueuedRun, ...]:
        """The running and the pending runs, in the order in which they run."""

    async def jobs(self, limit: int = 50) -> tuple[JobSummary, ...]:
        """Recent jobs, newest first."""

    async def upload_image(self, name: str, data: bytes, *, subfolder: str = "", overwrite: bool = False) -> str:
        """Put a picture into the server's input folder and return the name to use in LoadImage."""

    async def upload_mask(self, name: str, data: bytes, original: Output) -> str:
        """Put a mask for an input picture and return its name. Raises OutputGoneError where the original is not there."""

    async def fetch(self, output: Output) -> bytes:
        """The bytes of an output file. Raises OutputGoneError."""

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask the server to unload models and forget cached results after the current run."""


