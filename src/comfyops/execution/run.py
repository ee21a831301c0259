"""Running one graph on a backend: check, submit, watch, fetch. Being cancelled cancels the run on the server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.backends.events import Event, Finished, Outcome
from comfyops.errors import (
    BackendError,
    InvalidWorkflowError,
    RunFailedError,
    RunInterruptedError,
    RunLostError,
    WaitTimeoutError,
)
from comfyops.execution.outputs import SavedOutput, save
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.validate import validate

_CANCEL_SECONDS = 5.0
"""How long a cancelled run may hold up our own end."""

OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that succeeded: its outputs as files, the warnings about its graph, the seconds from submitting to the end.

    `cached` tells that the server answered from its cache, with files of an earlier run.
    """

    run_id: str
    outputs: tuple[SavedOutput, ...]
    warnings: tuple[Problem, ...]
    seconds: float
    cached: bool
    started_at: float | None = None
    finished_at: float | None = None


async def run(
    graph: Graph,
    backend: Backend,
    folder: Path,
    *,
    on_event: OnEvent | None = None,
    check: bool = True,
    front: bool = False,
    timeout: float | None = None,
    run_id: str | None = None,
) -> RunReport:
    """Run a graph and fetch every output into `folder`; `on_event` is told what happens.

    `check` validates it against the server's node types first; `timeout` is in seconds, after which the run goes on at
    the server unwatched. Raises InvalidWorkflowError, RejectedError, RunFailedError (outputs of nodes that finished are
    saved; `facts["outputs"]` holds their paths), RunInterruptedError, RunLostError, StalledError, WaitTimeoutError,
    OutputGoneError, UnreachableError, StorageError, UnsafeNameError.
    """
    warnings = check_graph(graph, await backend.node_types()) if check else ()
    began = time.monotonic()
    finished = await execute(graph, backend, on_event=on_event, front=front, timeout=timeout, run_id=run_id)
    outputs = await save(backend, finished.outputs, folder)
    raise_unless_successful(finished, outputs=[str(item.path) for item in outputs])
    return RunReport(
        run_id=finished.run_id,
        outputs=outputs,
        warnings=warnings,
        seconds=time.monotonic() - began,
        cached=finished.cached,
        started_at=finished.started_at,
        finished_at=finished.finished_at,
    )


async def collect(
    run_id: str, backend: Backend, folder: Path, *, timeout: float | None = None
) -> tuple[SavedOutput, ...]:
    """Wait for a run that was submitted before, by whomever, and fetch every output; being cancelled leaves it running.

    Raises what `run` raises after submitting.
    """
    try:
        async with asyncio.timeout(timeout):
            finished = [event async for event in backend.watch(run_id) if isinstance(event, Finished)][-1]
    except TimeoutError as error:
        raise WaitTimeoutError(f"The run {run_id} takes longer than {timeout:g} s.", run_id=run_id) from error
    outputs = await save(backend, finished.outputs, folder)
    raise_unless_successful(finished, outputs=[str(item.path) for item in outputs])
    return outputs


def check_graph(graph: Graph, types: NodeTypes) -> tuple[Problem, ...]:
    """The warnings about a graph that a server with these node types would take and survive.

    Raises InvalidWorkflowError with all problems where it would not.
    """
    problems = validate(graph, types)
    serious = [problem for problem in problems if problem.severity is not Severity.WARNING]
    if serious:
        more = f" ({len(serious) - 1} more)" if len(serious) > 1 else ""
        raise InvalidWorkflowError(f"{serious[0].message}{more}", problems=serious)
    return problems


async def execute(
    graph: Graph,
    backend: Backend,
    *,
    on_event: OnEvent | None = None,
    front: bool = False,
    timeout: float | None = None,
    run_id: str | None = None,
) -> Finished:
    """Submit a graph and watch it to its end, whatever that is.

    Raises RejectedError, RunLostError, StalledError, WaitTimeoutError, UnreachableError.
    """
    run_id = run_id or str(uuid.uuid4())
    try:
        async with asyncio.timeout(timeout):
            return await _submit_and_watch(graph, backend, run_id, on_event or _ignore, front)
    except TimeoutError as error:
        raise WaitTimeoutError(f"The run {run_id} takes longer than {timeout:g} s.", run_id=run_id) from error
    except asyncio.CancelledError:
        await cancel_quietly(backend, run_id)
        raise


async def _submit_and_watch(graph: Graph, backend: Backend, run_id: str, tell: OnEvent, front: bool) -> Finished:
    events = backend.run(graph, run_id=run_id, front=front)
    try:
        async for event in events:
            tell(event)
            if isinstance(event, Finished):
                return event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
    raise RunLostError(f"The server {backend.url} stopped telling about the run {run_id}.", run_id=run_id)


async def cancel_quietly(backend: Backend, run_id: str) -> None:
    """Cancel a run that nobody waits for any more; a server that does not answer is left alone."""
    with suppress(BackendError, TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            await backend.cancel(run_id)


def raise_unless_successful(finished: Finished, **facts: Any) -> None:
    """Raise RunFailedError or RunInterruptedError for a run that ended otherwise than well."""
    facts["run_id"] = finished.run_id
    if finished.outcome is Outcome.INTERRUPTED:
        raise RunInterruptedError(f"The run {finished.run_id} was interrupted.", **facts)
    if finished.outcome is Outcome.FAILED:
        failure = finished.failure
        if failure is None:
            raise RunFailedError(f"The run {finished.run_id} failed; the server did not say why.", **facts)
        reason = failure.message.strip().rstrip(".") or failure.exception_type
        raise RunFailedError(
            f"Node {failure.node} ({failure.class_type}) failed: {reason}.",
            node=failure.node,
            class_type=failure.class_type,
            exception_type=failure.exception_type,
            **facts,
        )


def _ignore(event: Event) -> None:
    """Nobody wants to know."""
