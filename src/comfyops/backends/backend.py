"""The contract of a backend: what everything above asks of a ComfyUI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
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
    """One job as a server lists it; `created_at` is in seconds since the epoch.

    `status` is pending, in_progress, completed, failed or cancelled.
    """

    run_id: str
    status: str
    created_at: float | None
    outputs_count: int


class Backend(Protocol):
    """One ComfyUI server. Methods raise errors of `BackendError`, beside what their own text names.

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

        Raises RejectedError with the server's node errors, UsageError for a `run_id` that is no canonical UUID. An
        UnreachableError carries the fact `run_id`: submit again with that id, and a job that did arrive is found.
        """

    def watch(self, run_id: str) -> AsyncIterator[Event]:
        """Events of a run, ending with exactly one Finished; a run that is over already has only that one.

        Runs that another client submitted can be watched too, mostly without events before the end. A slow reader loses
        previews and steps of progress, never anything else. Raises RunLostError, StalledError, and UnreachableError
        once the server stays away for long.
        """

    def run(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> AsyncIterator[Event]:
        """`submit` and `watch` in one: Queued, then the events of the run."""

    async def result(self, run_id: str) -> Finished | None:
        """The end of a run, None while it is pending or running. Raises RunLostError where the server knows it not."""

    async def cancel(self, run_id: str) -> bool:
        """Stop a run, pending or running, and see that it stopped; False where there was nothing to stop.

        Raises WaitTimeoutError where the server was asked but the node that runs does not stop.
        """

    async def queue(self) -> tuple[QueuedRun, ...]:
        """The running and the pending runs, in the order in which they run."""

    async def jobs(self, limit: int = 50) -> tuple[JobSummary, ...]:
        """Recent jobs, newest first."""

    async def upload_image(self, name: str, data: bytes | Path, *, subfolder: str = "", overwrite: bool = False) -> str:
        """Put a picture into the server's input folder and return the name to use in LoadImage.

        A path is read piece by piece, however large the file is. Without `overwrite` a name that is taken by another
        picture gets a number: the returned name counts. Raises UnsafeNameError for a name that would leave the folder,
        StorageError for a path that cannot be read.
        """

    async def upload_mask(self, name: str, data: bytes, original: Output) -> str:
        """Store `original` with the alpha channel of the mask (PNG, same size); return the name to use in LoadImage.

        Raises OutputGoneError where the original is not there, RejectedError where the mask does not fit,
        UnsafeNameError for a name that would leave the folder.
        """

    async def fetch(self, output: Output) -> bytes:
        """The bytes of an output file; of a text output, its text in UTF-8. Raises OutputGoneError."""

    async def fetch_to(self, output: Output, path: Path) -> None:
        """Write an output to a file, whole or not at all, without holding it in memory.

        Raises OutputGoneError, StorageError.
        """

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask the server to unload models and forget cached results after the current run."""
