"""StoryCore's `advanced_workflow_router`: which workflow serves a request best here, from what was measured."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.errors import BackendError
from comfyops.execution.panel import without_login
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, WorkflowExecutionError
from comfyops.storycore.advanced_workflow_config import AdvancedWorkflowConfig
from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry
from comfyops.storycore.analytics import Analytics, Profile
from comfyops.storycore.gate import Gate
from comfyops.storycore.routing import Candidate, Figure, RoutingDecision, RoutingStrategy, choose
from comfyops.storycore.workflow_values import WorkflowRequest
from comfyops.workflows.node_types import NodeTypes

__all__ = [
    "AdvancedWorkflowRouter",
    "RoutingDecision",
    "RoutingStrategy",
    "ServerFacts",
    "WorkflowPerformanceProfile",
]

_GB = 1024**3
_FULL_HD = 1920 * 1080
_EFFORT = {"fast": 0.5, "balanced": 1.0, "quality": 2.0}


@dataclass(frozen=True)
class ServerFacts:
    """What routing needs of a server; None = not known. `problem` says why there are none."""

    server: str | None = None
    types: NodeTypes | None = None
    memory_gb: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class WorkflowPerformanceProfile:
    """What was measured of a workflow: seconds and GB (medians), rates from 0 to 1; 0 where nothing was."""

    workflow_name: str
    average_execution_time: float
    memory_usage: float
    success_rate: float
    quality_score: float
    runs: int


class AdvancedWorkflowRouter:
    """Chooses among the workflows of a registry."""

    def __init__(
        self,
        registry: AdvancedWorkflowRegistry,
        analytics: Analytics | None = None,
        config: AdvancedWorkflowConfig | None = None,
    ) -> None:
        self._registry = registry
        self._analytics = Analytics() if analytics is None else analytics
        self._config = config or AdvancedWorkflowConfig()
        self._turns: Counter[tuple[Any, ...]] = Counter()
        self._routed: Counter[str] = Counter()
        self._asking = Gate()
        self._asked_at = float("-inf")
        self._asked: tuple[Backend, ServerFacts] | None = None

    async def route_request(
        self,
        request: WorkflowRequest,
        strategy: RoutingStrategy = RoutingStrategy.BALANCED,
        backend: Backend | None = None,
    ) -> RoutingDecision:
        """The workflow to take; the parameter `workflow` may name one. Without a backend, no server is looked at.

        Raises WorkflowExecutionError where none can; `details["refused"]` says why for each. Raises UsageError for a
        named one that is not registered.
        """
        facts = await self._facts(backend) if backend is not None else ServerFacts()
        candidates = [await self._candidate(key, request, facts) for key in self._keys(request)]
        turn = (request.kind, request.needs())
        decision = choose(candidates, self._strategy(strategy), self._turns[turn])
        if decision is None:
            raise _nobody(request, candidates)
        if decision.strategy is RoutingStrategy.ROUND_ROBIN:
            self._turns[turn] += 1
        self._routed[decision.selected_workflow] += 1
        return decision

    def get_routing_stats(self) -> dict[str, Any]:
        """How often each workflow was chosen."""
        return {"total_requests": self._routed.total(), "workflow_usage": dict(self._routed)}

    def get_performance_profiles(self) -> dict[str, WorkflowPerformanceProfile]:
        """What was measured, by workflow."""
        return {key: _shown(key, self._analytics.profile(key)) for key in self._registry.keys}

    async def _facts(self, backend: Backend) -> ServerFacts:
        """What the server is like now; requests that come at the same time share one answer."""
        called_at = time.monotonic()
        async with self._asking.turn(0):
            if self._asked_at < called_at or self._asked is None or self._asked[0] is not backend:
                self._asked_at = time.monotonic()
                self._asked = (backend, await server_facts(backend))
            return self._asked[1]

    def _keys(self, request: WorkflowRequest) -> tuple[str, ...]:
        named = request.parameters.get("workflow")
        if named is None:
            return self._registry.keys
        self._registry.instance(str(named))
        return (str(named),)

    def _strategy(self, strategy: RoutingStrategy | str) -> RoutingStrategy:
        wanted = RoutingStrategy(strategy)
        if wanted is RoutingStrategy.BALANCED and self._config.prefer_speed_over_quality:
            return RoutingStrategy.FASTEST
        return wanted

    async def _candidate(self, key: str, request: WorkflowRequest, facts: ServerFacts) -> Candidate:
        try:
            workflow = self._registry.instance(key)
            refusal = await _refusal(workflow, request, facts)
            peak = float(dict(workflow.memory_requirements).get("vram_peak", 0))
        except Exception as error:  # noqa: BLE001 - workflows of others; one bad one must not stop the rest
            refusal = f"it cannot be asked: {error}"
        if refusal:
            return Candidate(key, Figure(0), Figure(0), Figure(0), refusal=refusal)
        profile = self._analytics.profile(key, facts.server)
        return Candidate(
            key=key,
            quality=_figure(profile.quality, workflow.assumed_quality),
            seconds=estimated_seconds(profile, workflow, request),
            memory=_figure(profile.memory, peak),
            success_rate=profile.success_rate,
            runs=profile.runs,
            caution="" if workflow.runs_locally else self._memory_caution(peak, facts),
        )

    def _memory_caution(self, peak: float, facts: ServerFacts) -> str:
        if facts.memory_gb is None:
            return ""
        most = facts.memory_gb * self._config.gpu_memory_fraction
        if self._config.max_memory_usage_gb:
            most = min(most, self._config.max_memory_usage_gb)
        if peak <= most:
            return ""
        return f"it wants {peak:.3g} GB of video memory and may use {most:.3g} GB: models would move in and out"


async def server_facts(backend: Backend) -> ServerFacts:
    """Node types and memory of a server; a server that does not answer is told as `problem`."""
    server = without_login(backend.url)
    try:
        stats = await backend.system_stats()
        types = await backend.node_types(refresh=True)
    except BackendError as error:
        return ServerFacts(server, problem=error.message)
    memory = max((device.vram_total for device in stats.devices), default=stats.ram_total)
    return ServerFacts(server, types, memory / _GB)


def estimated_seconds(profile: Profile, workflow: BaseAdvancedWorkflow, request: WorkflowRequest) -> Figure:
    """How long a request will take: from runs of any size where its size is known, else from their median time."""
    work = request_work(request.size(), request.parameters.get("num_frames"))
    if profile.seconds_per_work is not None and work:
        return Figure(profile.seconds_per_work * work, True)
    if profile.median_time is not None:
        return Figure(profile.median_time, True)
    width, height = request.size()
    pixels = min(max(width * height / _FULL_HD, 0.5), 3.0) if width and height else 1.0
    return Figure(workflow.assumed_seconds * pixels * _EFFORT[request.quality_mode])


def request_work(size: tuple[Any, Any], frames: Any) -> float:
    """Million pixels times frames; 0 where one of them is not known."""
    numbers = (*size, frames)
    return math.prod(numbers) / 1e6 if all(isinstance(number, int) for number in numbers) else 0.0


async def _refusal(workflow: BaseAdvancedWorkflow, request: WorkflowRequest, facts: ServerFacts) -> str:
    able, why = await workflow.validate_request(request)
    if not able:
        return why.rstrip(".")
    if workflow.runs_locally:
        return ""
    if facts.problem:
        return facts.problem.rstrip(".")
    missing = await asyncio.to_thread(workflow.missing, request, facts.types) if facts.types is not None else ()
    return "; ".join(missing)


def _figure(measured: float | None, assumed: float) -> Figure:
    return Figure(assumed) if measured is None else Figure(measured, True)


def _nobody(request: WorkflowRequest, candidates: list[Candidate]) -> WorkflowExecutionError:
    wanted = ", ".join(item.name for item in request.needs())
    refused: Mapping[str, str] = {item.key: item.refusal for item in candidates}
    reasons = "; ".join(f"{key}: {why}" for key, why in refused.items()) or "none is registered"
    return WorkflowExecutionError(
        "",
        f"No workflow serves {wanted} here ({reasons}).",
        {"refused": dict(refused)},
        hint="Install what is missing, or register a workflow that can.",
    )


def _shown(key: str, profile: Profile) -> WorkflowPerformanceProfile:
    return WorkflowPerformanceProfile(
        workflow_name=key,
        average_execution_time=profile.median_time or 0.0,
        memory_usage=profile.memory or 0.0,
        success_rate=profile.success_rate if profile.runs else 0.0,
        quality_score=profile.quality or 0.0,
        runs=profile.runs,
    )
