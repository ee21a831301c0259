"""Executions of requests: routed, let in by priority, run within their time, remembered however they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.backends.events import Event
from comfyops.errors import ComfyOpsError, StorageError, UsageError
from comfyops.execution.panel import without_login
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, Job
from comfyops.storycore.advanced_workflow_config import PRESETS, AdvancedWorkflowConfig, QualityLevel
from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry
from comfyops.storycore.advanced_workflow_router import AdvancedWorkflowRouter, request_work
from comfyops.storycore.analytics import Analytics, Execution
from comfyops.storycore.connection import Connection, memory_in_use
from comfyops.storycore.gate import Gate
from comfyops.storycore.routing import RoutingDecision, RoutingStrategy
from comfyops.storycore.workflow_attempts import Attempts, time_limit
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult

log = logging.getLogger(__name__)

FRONT_PRIORITY = 9
"""From this priority on, a run goes before what waits in the server's queue."""

CANCELLED = "cancelled"
"""The code of a result that somebody cancelled."""

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Parts:
    """What executions are made with."""

    connection: Connection
    registry: AdvancedWorkflowRegistry
    router: AdvancedWorkflowRouter
    analytics: Analytics
    config: AdvancedWorkflowConfig
    folder: Path


@dataclass
class _Execution:
    """One execution under way. `workflow` is known once it was routed; `waited` and `seconds` are times in seconds."""

    id: str
    request: WorkflowRequest
    strategy: RoutingStrategy
    on_event: OnEvent | None
    workflow: str = ""
    server: str = ""
    decision: RoutingDecision | None = None
    waited: float = 0.0
    seconds: float = 0.0
    story: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[WorkflowResult] | None = None
    stopped: bool = False

    def facts(self) -> dict[str, Any]:
        """What every result of it tells."""
        told: dict[str, Any] = {"execution_id": self.id, "workflow": self.workflow, "waited": self.waited}
        if self.decision is not None:
            told["routing"] = {
                "strategy": self.decision.strategy.value,
                "reasoning": self.decision.reasoning,
                "alternatives": self.decision.alternatives,
                "refused": dict(self.decision.refused),
                "estimated_time": self.decision.estimated_time,
            }
        return told | ({"attempts": self.story} if self.story else {})


class Executions:
    """Runs requests; at most `config.at_once` of them use the server at a time, and one the local engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._under_way: dict[str, _Execution] = {}
        self._server_gate, self._local_gate = Gate(parts.config.at_once), Gate()

    @property
    def under_way(self) -> list[str]:
        """Ids of the executions that have not ended."""
        return list(self._under_way)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._server_gate.waiting + self._local_gate.waiting

    async def execute(
        self, execution_id: str, request: WorkflowRequest, strategy: RoutingStrategy, on_event: OnEvent | None
    ) -> WorkflowResult:
        """The result, also of what fails or is cancelled by `cancel`. Raises UsageError for an id that is under way."""
        if execution_id in self._under_way:
            raise UsageError(f"The execution {execution_id} is under way already.")
        execution = _Execution(execution_id, request, strategy, on_event)
        self._under_way[execution_id] = execution
        execution.task = asyncio.create_task(self._told(execution))
        try:
            return await execution.task
        except asyncio.CancelledError:
            self._remember(execution, WorkflowResult(False), cancelled=True)
            if not execution.stopped:  # it was our caller that was cancelled
                raise
            facts = {**execution.facts(), "code": CANCELLED}
            return WorkflowResult(False, error_message="The execution was cancelled.", metadata=facts)
        finally:
            del self._under_way[execution_id]

    async def cancel(self, execution_id: str) -> bool:
        """Stop an execution, here and on the server, and wait for that; False where there is nothing to stop."""
        execution = self._under_way.get(execution_id)
        if execution is None or execution.task is None or execution.task.done():
            return False
        execution.stopped = True
        execution.task.cancel()
        await asyncio.wait([execution.task])
        return execution.task.cancelled()

    async def _told(self, execution: _Execution) -> WorkflowResult:
        """The result, with what is known of the execution; an error becomes a result."""
        try:
            async with self._parts.connection.lease() as backend:
                execution.server = without_login(backend.url)
                result = await self._routed(execution, backend)
        except ComfyOpsError as error:
            facts = {"code": error.code, "hint": error.hint, "facts": dict(error.facts)}
            result = WorkflowResult(False, error_message=error.message, metadata=facts)
        result.execution_time = execution.seconds
        result.metadata |= execution.facts()
        self._remember(execution, result)
        return result

    async def _routed(self, execution: _Execution, backend: Backend) -> WorkflowResult:
        request = with_level(execution.request, self._parts.config.quality_level)
        execution.decision = await self._parts.router.route_request(request, execution.strategy, backend)
        workflows = self._choices(execution.decision)
        execution.workflow, first = workflows[0]
        gate = self._local_gate if first.runs_locally else self._server_gate
        came = time.monotonic()
        async with gate.turn(request.priority):
            began = time.monotonic()
            execution.waited = began - came
            try:
                result = await self._performed(execution, workflows, request, backend)
            finally:
                execution.seconds = time.monotonic() - began
        used = self._parts.registry.instance(execution.workflow)
        used.update_performance_stats(execution.seconds)
        if not used.runs_locally and not result.memory_used:
            result.memory_used = await memory_in_use(backend)
        return result

    async def _performed(
        self,
        execution: _Execution,
        workflows: list[tuple[str, BaseAdvancedWorkflow]],
        request: WorkflowRequest,
        backend: Backend,
    ) -> WorkflowResult:
        config = self._parts.config
        folder = self._parts.folder / execution.id
        job = Job(execution.id, backend, folder, request.priority >= FRONT_PRIORITY, execution.on_event)
        attempts = Attempts(job, config.max_retries if config.auto_retry_on_failure else 0)
        execution.story = attempts.story
        async with time_limit(request.max_inference_time, execution.id):
            execution.workflow, result = await attempts.perform(workflows, request)
        return result

    def _choices(self, decision: RoutingDecision) -> list[tuple[str, BaseAdvancedWorkflow]]:
        """The chosen workflow, then those a resilient request may fall back to."""
        keys = [decision.selected_workflow, *(key for key, _ in decision.alternatives)]
        if not self._parts.config.enable_auto_routing:
            keys.sort(key=self._parts.registry.keys.index)
        if not self._parts.config.fallback_to_basic:
            keys = keys[:1]
        return [(key, self._parts.registry.instance(key)) for key in keys]

    def _remember(self, execution: _Execution, result: WorkflowResult, *, cancelled: bool = False) -> None:
        made = result.metadata
        run = Execution(
            execution_id=execution.id,
            workflow_name=execution.workflow,
            execution_time=execution.seconds,
            success=result.success,
            memory_used=result.memory_used,
            timestamp=time.time(),
            work=request_work((made.get("width"), made.get("height")), made.get("num_frames")),
            quality=result.quality_metrics.get("quality_score"),
            cancelled=cancelled,
            error="" if result.success else str(made.get("code") or CANCELLED),
            engine=str(made.get("engine") or ""),
            server=execution.server,
        )
        try:
            self._parts.analytics.add(run)
        except StorageError as error:  # a result is worth more than its statistics
            log.warning("What this run took is not remembered: %s", error.message)


def with_level(request: WorkflowRequest, level: QualityLevel) -> WorkflowRequest:
    """The request with the steps and guidance of a level other than standard, where it names none itself."""
    if level is QualityLevel.STANDARD:
        return request
    preset = PRESETS[level]
    parameters = {"steps": preset.steps, "cfg_scale": preset.cfg_scale, **request.parameters}
    return replace(request, parameters=parameters, capabilities=None)
