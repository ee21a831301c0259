"""What the two integrations share: a connection, runs that can be cancelled and timed, and their figures."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.config import Settings
from comfyops.errors import RunInterruptedError
from comfyops.storycore.advanced_workflow_base import Job
from comfyops.storycore.circuit_breaker import CircuitBreaker
from comfyops.storycore.connection import Connection, memory_in_use
from comfyops.storycore.engine_workflow import EngineWorkflow
from comfyops.storycore.workflow_attempts import time_limit
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult, WorkflowValidationError


@dataclass
class Figures:
    """What an integration made; seconds."""

    runs: int = 0
    failures: int = 0
    total_frames: int = 0
    total_time: float = 0.0

    @property
    def avg_fps(self) -> float:
        """Frames made in a second."""
        return self.total_frames / self.total_time if self.total_time else 0.0


class Integration:
    """Runs requests by one workflow on a given backend, else on the configured server.

    Results go below `output_folder`, the setting `output` by default. `memory_used` is the server's memory in use after
    the last run, in GB.
    """

    def __init__(
        self,
        workflow: EngineWorkflow,
        *,
        backend: Backend | None = None,
        settings: Settings | None = None,
        url: str | None = None,
        output_folder: str | Path | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.workflow = workflow
        self.figures = Figures()
        self.memory_used = 0.0
        self._connection = Connection(backend, settings, url=url)
        self._folder = Path(output_folder) if output_folder is not None else None
        self._breaker = breaker
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped: set[asyncio.Task[Any]] = set()

    @property
    def connection(self) -> Connection:
        """Where it runs."""
        return self._connection

    async def run(self, request: WorkflowRequest, timeout: float | None) -> WorkflowResult:
        """The result. Raises what the engines raise, WaitTimeoutError after `timeout` seconds, RunInterruptedError
        where `cancel` stopped it.
        """
        task = asyncio.create_task(self._timed(request, timeout))
        self._tasks.add(task)
        began = time.monotonic()
        self.figures.runs += 1
        try:
            result = await task
        except asyncio.CancelledError:
            self.figures.failures += 1
            if task not in self._stopped:
                raise
            raise RunInterruptedError("The run was cancelled.") from None
        except Exception:
            self.figures.failures += 1
            raise
        finally:
            self._tasks.discard(task)
            self._stopped.discard(task)
        self.figures.total_frames += len(result.frames)
        self.figures.total_time += time.monotonic() - began
        return result

    def cancel(self) -> int:
        """Stop every run under way, here and on the server; how many there were."""
        running = [task for task in self._tasks if not task.done()]
        for task in running:
            self._stopped.add(task)
            task.cancel()
        return len(running)

    async def _timed(self, request: WorkflowRequest, timeout: float | None) -> WorkflowResult:
        if self._breaker is None:
            return await self._run(request, timeout)
        with self._breaker.guarding():
            return await self._run(request, timeout)

    async def _run(self, request: WorkflowRequest, timeout: float | None) -> WorkflowResult:
        able, why = await self.workflow.validate_request(request)
        if not able:
            raise WorkflowValidationError(self.workflow.name, why, request)
        execution_id = str(uuid.uuid4())
        async with self._connection.lease() as backend, time_limit(timeout, execution_id):
            folder = (self._folder or self._connection.settings.output) / execution_id
            result = await self.workflow.run(request, Job(execution_id, backend, folder))
            result.memory_used = self.memory_used = await memory_in_use(backend)
            return result
