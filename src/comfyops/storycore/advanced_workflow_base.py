"""StoryCore's `advanced_workflow_base`: what every advanced workflow is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from comfyops.backends.backend import Backend
from comfyops.backends.events import Event
from comfyops.errors import BackendError
from comfyops.storycore.gate import Gate
from comfyops.storycore.workflow_values import (
    WorkflowCapability,
    WorkflowCapabilityScore,
    WorkflowRequest,
    WorkflowResult,
    WorkflowType,
    WorkflowValidationError,
    to_capability,
)
from comfyops.workflows.node_types import NodeTypes

__all__ = [
    "BaseAdvancedWorkflow",
    "Job",
    "WorkflowCapability",
    "WorkflowCapabilityScore",
    "WorkflowExecutionError",
    "WorkflowRequest",
    "WorkflowResult",
    "WorkflowType",
    "WorkflowValidationError",
]


class WorkflowExecutionError(BackendError):
    """A workflow could not do what was asked of it; `details` holds what a program may want to know."""

    code = "workflow_execution"

    def __init__(
        self, workflow_name: str, message: str, details: Mapping[str, Any] | None = None, *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, workflow=workflow_name, **(details or {}))
        self.workflow_name = workflow_name
        self.details = dict(details or {})


@dataclass(frozen=True)
class Job:
    """What one run is given: the server, the folder for its files, whether it goes before what waits there.

    `execution_id` names it; `on_event` is told what the server tells.
    """

    execution_id: str
    backend: Backend
    folder: Path
    front: bool = False
    on_event: Callable[[Event], None] | None = None


class BaseAdvancedWorkflow(ABC):
    """A workflow that the manager can choose and run.

    What it can do stands on the class, so that nobody must make one to know. A subclass gives `execute`, or `run` where
    it wants the manager's server and folder. The figures on the class are used until there are measured ones:
    `memory_requirements` in GB, `assumed_quality` from 0 to 1, `assumed_seconds` for a usual request.
    """

    workflow_name: ClassVar[str] = ""
    workflow_category: ClassVar[str] = WorkflowType.VIDEO
    capabilities: Any = ()
    required_models: Any = ()
    memory_requirements: Any = MappingProxyType({"vram_peak": 0.0, "vram_sustained": 0.0, "system_ram": 0.0})
    supported_resolutions: Any = ()
    assumed_quality: ClassVar[float] = 0.5
    assumed_seconds: ClassVar[float] = 120.0
    runs_locally: ClassVar[bool] = False

    def __init__(
        self, name: str = "", workflow_type: WorkflowType | str | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name or self.workflow_name or type(self).__name__
        self.workflow_type = WorkflowType.of(workflow_type or self.workflow_category)
        self.config = dict(config or {})
        self.is_loaded = False
        self.execution_count = 0
        self.average_execution_time = 0.0
        self.running = 0
        self._loading = Gate()

    @abstractmethod
    async def execute(self, request: WorkflowRequest) -> WorkflowResult:
        """Do what is asked, without a manager."""

    async def run(self, request: WorkflowRequest, job: Job) -> WorkflowResult:
        """Do what is asked with what the manager gives; by default `execute`."""
        return await self.execute(request)

    async def load_models(self) -> bool:
        """Make ready; called once, before the first run. A ComfyUI server loads its models itself."""
        return True

    async def unload_models(self) -> bool:
        """Let go of what `load_models` took."""
        return True

    async def load_once(self) -> bool:
        """`load_models`, once, however many runs begin at the same time."""
        async with self._loading.turn(0):
            if not self.is_loaded:
                self.is_loaded = await self.load_models()
            return self.is_loaded

    def missing(self, request: WorkflowRequest, types: NodeTypes) -> tuple[str, ...]:
        """What the server lacks for this request (nodes, model files), in clauses; empty where nothing."""
        return ()

    def usual_parameters(self, request: WorkflowRequest) -> Mapping[str, Any]:
        """width, height, num_frames and steps that it takes where a request names none, as far as it knows."""
        return {}

    async def validate_request(self, request: WorkflowRequest) -> tuple[bool, str]:
        """(Whether it can take the request, why not)."""
        if request.kind is not self.workflow_type:
            return False, f"{self.name} makes a {self.workflow_type}, not a {request.kind}."
        lacking = [item for item in request.needs() if item not in self.abilities()]
        if lacking:
            return False, f"{self.name} has no {', '.join(item.name for item in lacking)}."
        return True, ""

    def abilities(self) -> frozenset[WorkflowCapability]:
        """`capabilities` as enums."""
        return named_capabilities(self.capabilities, self.workflow_type)

    async def get_capability_score(
        self, capability: WorkflowCapability | str, request: WorkflowRequest
    ) -> WorkflowCapabilityScore:
        """0 where it lacks the capability, else its assumed quality, a little more for a resolution it is made for."""
        wanted = to_capability(capability, self.workflow_type)
        if wanted not in self.abilities():
            return WorkflowCapabilityScore(self.name, wanted, 0.0, 1.0, f"{self.name} has no {wanted.name}.")
        fits = request.size() in [tuple(size) for size in self.supported_resolutions]
        score = min(1.0, self.assumed_quality + (0.1 if fits else 0.0))
        return WorkflowCapabilityScore(self.name, wanted, score, 0.5, "an assumption, not a measurement")

    def update_performance_stats(self, execution_time: float) -> None:
        """Count one run of so many seconds."""
        total = self.average_execution_time * self.execution_count + execution_time
        self.execution_count += 1
        self.average_execution_time = total / self.execution_count

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self.running > 0

    def get_status(self) -> dict[str, Any]:
        """Name, state and figures, for people."""
        return {
            "name": self.name,
            "type": self.workflow_type.value,
            "is_loaded": self.is_loaded,
            "is_busy": self.is_busy,
            "execution_count": self.execution_count,
            "average_execution_time": self.average_execution_time,
            "capabilities": sorted(self.abilities()),
            "memory_requirements": dict(self.memory_requirements),
        }


def named_capabilities(values: Iterable[Any], workflow_type: WorkflowType) -> frozenset[WorkflowCapability]:
    """Capabilities in either spelling as enums. Raises WorkflowValidationError."""
    return frozenset(to_capability(item, workflow_type) for item in values)
