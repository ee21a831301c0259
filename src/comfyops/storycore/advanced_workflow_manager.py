"""StoryCore's `advanced_workflow_manager`: requests in, results out, on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.backends.submitting import checked_run_id
from comfyops.config import Settings
from comfyops.errors import BackendError, UsageError
from comfyops.execution.render import is_simulator
from comfyops.storycore.advanced_workflow_config import AdvancedWorkflowConfig
from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry, get_global_registry
from comfyops.storycore.advanced_workflow_router import AdvancedWorkflowRouter
from comfyops.storycore.analytics import Analytics
from comfyops.storycore.built_in_workflows import BUILT_IN
from comfyops.storycore.comfyui_config import ComfyUIConfig
from comfyops.storycore.connection import Connection
from comfyops.storycore.executions import Executions, OnEvent, Parts
from comfyops.storycore.routing import RoutingStrategy
from comfyops.storycore.workflow_values import WorkflowCapability, WorkflowRequest, WorkflowResult


class AdvancedWorkflowManager:
    """Chooses a workflow for each request, runs it, and remembers how that went.

    It runs on `backend`, else on the server of `comfyui_config`, else on the configured one (COMFYUI_URL or
    COMFYOPS_SERVER). Results go below `output_folder` (the setting `output` by default), one folder for each execution;
    what runs took is remembered in `analytics_path` (`analytics/workflows.jsonl` below the setting `home` by default).
    Its settings are `config`, else those of the file `config_path` and of the environment (STORYCORE_...). Raises the
    errors of AdvancedWorkflowConfig.load.
    """

    def __init__(
        self,
        config_path: str | Path | None = None,
        *,
        config: AdvancedWorkflowConfig | None = None,
        backend: Backend | None = None,
        comfyui_config: ComfyUIConfig | None = None,
        settings: Settings | None = None,
        registry: AdvancedWorkflowRegistry | None = None,
        output_folder: str | Path | None = None,
        analytics_path: str | Path | None = None,
    ) -> None:
        self.config = config or AdvancedWorkflowConfig.load(config_path)
        self.registry = AdvancedWorkflowRegistry() if registry is None else registry
        self._connection = Connection(backend, settings, comfyui_config)
        known = self._connection.settings
        path = Path(analytics_path) if analytics_path else known.home.expanduser() / "analytics" / "workflows.jsonl"
        folder = known.output if output_folder is None else Path(output_folder)
        self.analytics = Analytics(path)
        self.router = AdvancedWorkflowRouter(self.registry, self.analytics, self.config)
        parts = Parts(self._connection, self.registry, self.router, self.analytics, self.config, folder)
        self._executions = Executions(parts)
        self._initialized = False

    async def initialize(self, workflow_search_paths: Iterable[str | Path] | None = None) -> bool:
        """Register the built-in workflows, those of installed packages, and those in files below the search paths.

        Those files are executed. Nothing is asked of a server yet: see `health_check`.
        """
        enabled = {"hunyuan_video": self.config.enable_hunyuan, "wan_video": self.config.enable_wan}
        for category, name, workflow in BUILT_IN:
            if f"{category}/{name}" not in self.registry.keys and enabled.get(name, True):
                self.registry.register_workflow(category, name, workflow)
        self.registry.discover_installed()
        if workflow_search_paths:
            await asyncio.to_thread(self.registry.discover_workflows, list(workflow_search_paths))
        self._initialized = True
        return True

    async def execute_workflow(
        self,
        request: WorkflowRequest,
        routing_strategy: RoutingStrategy = RoutingStrategy.BALANCED,
        *,
        execution_id: str | None = None,
        on_event: OnEvent | None = None,
    ) -> WorkflowResult:
        """Do what is asked. A failure is in the result, never raised; many may run at once.

        `execution_id` is a canonical UUID, made where none is given; `cancel_execution` takes it. `on_event` is told
        what the server tells. Raises UsageError before `initialize`, and for an id that is none or is under way.
        """
        if not self._initialized:
            raise UsageError("The manager is not initialized.", hint="Call `await manager.initialize()` first.")
        execution_id = checked_run_id(execution_id) if execution_id else str(uuid.uuid4())
        return await self._executions.execute(execution_id, request, RoutingStrategy(routing_strategy), on_event)

    async def cancel_execution(self, execution_id: str) -> bool:
        """Stop an execution, here and on the server, and wait for that; False where it is not under way."""
        return await self._executions.cancel(execution_id)

    def get_available_workflows(self) -> dict[str, list[str]]:
        """Names by category."""
        return self.registry.list_available_workflows()

    def get_workflow_capabilities(self) -> dict[str, list[str]]:
        """Capabilities by workflow."""
        return {key: sorted(self.registry.capabilities_of(key)) for key in self.registry.keys}

    def get_workflows_by_capability(self, capability: WorkflowCapability | str) -> list[str]:
        """Keys of the workflows that have a capability."""
        return self.registry.get_workflows_by_capability(capability)

    def get_performance_analytics(self) -> dict[str, Any]:
        """Every documented figure, also before the first run; see `Analytics.report`."""
        return self.analytics.report()

    def get_manager_status(self) -> dict[str, Any]:
        """State, executions under way, figures, registry, routing, settings that are wrong."""
        report = self.analytics.report()
        times = report["workflow_performance"].values()
        return {
            "is_initialized": self._initialized,
            "active_executions": self._executions.under_way,
            "waiting_executions": self._executions.waiting,
            "execution_stats": {
                "total_requests": report["total_executions"],
                "successful_executions": report["successful_executions"],
                "failed_executions": report["failed_executions"],
                "total_execution_time": sum(item["total_time"] for item in times),
                "average_execution_time": report["average_execution_time"],
            },
            "registry_status": self.registry.get_registry_status(),
            "routing_stats": self.router.get_routing_stats(),
            "performance_history_size": len(self.analytics),
            "config_validation": self.config.validate(),
        }

    async def health_check(self) -> dict[str, Any]:
        """`status` is healthy, degraded (the server does not answer, or a workflow has a problem) or unhealthy."""
        problems = self.registry.validate_registry()
        errors = list(problems["errors"])
        server: dict[str, Any] = {"url": self._connection.url, "reachable": True}
        try:
            async with self._connection.lease() as backend:
                stats = await backend.system_stats()
            server |= {"version": stats.version, "simulated": is_simulator(stats)}
        except BackendError as error:
            server["reachable"] = False
            errors.append(error.message)
        ready = self._initialized and bool(self.registry.keys)
        status = "unhealthy" if not ready else "degraded" if errors else "healthy"
        return {
            "status": status,
            "errors": errors,
            "warnings": problems["warnings"],
            "server": server,
            "initialized": self._initialized,
        }

    async def cleanup(self) -> None:
        """Cancel what is under way and let go of the workflows; `initialize` makes it ready again."""
        await asyncio.gather(*(self.cancel_execution(key) for key in self._executions.under_way))
        await self.registry.cleanup_instances()
        self._initialized = False


_GLOBAL: dict[str, AdvancedWorkflowManager] = {}


async def get_global_manager(config_path: str | Path | None = None) -> AdvancedWorkflowManager:
    """The manager of this process, on the registry of this process; made and initialized when first asked for."""
    if "manager" not in _GLOBAL:
        _GLOBAL["manager"] = AdvancedWorkflowManager(config_path, registry=get_global_registry())
        await _GLOBAL["manager"].initialize()
    return _GLOBAL["manager"]


async def execute_workflow(
    request: WorkflowRequest, routing_strategy: RoutingStrategy = RoutingStrategy.BALANCED
) -> WorkflowResult:
    """Do what is asked with the manager of this process."""
    return await (await get_global_manager()).execute_workflow(request, routing_strategy)
