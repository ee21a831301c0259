"""The legacy video engine as a workflow: no model, no server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType

from comfyops.execution.generate import generate
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, Job
from comfyops.storycore.connection import Connection
from comfyops.storycore.engine_workflow import workflow_result
from comfyops.storycore.generation_requests import checked, generation_request, unused
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult
from comfyops.workflows.capabilities import Capability


class LegacyVideoWorkflow(BaseAdvancedWorkflow):
    """Pan and zoom over key frames, or over title cards of the prompt, drawn on this machine and labelled so.

    It serves VIDEO_GENERATION alone, and never stands in for a model.
    """

    workflow_name = "legacy_video"
    capabilities = (Capability.VIDEO_GENERATION,)
    memory_requirements = MappingProxyType({"vram_peak": 0.0, "vram_sustained": 0.0, "system_ram": 1.0})
    assumed_quality = 0.3
    assumed_seconds = 10.0
    runs_locally = True

    async def execute(self, request: WorkflowRequest) -> WorkflowResult:
        """Do it; results go below the setting `output`. Raises what `run` raises."""
        return await self._made(request, Connection().settings.output)

    async def run(self, request: WorkflowRequest, job: Job) -> WorkflowResult:
        """Do it. Raises InputError for key frames that cannot be read, UsageError, MissingExtraError, StorageError."""
        return await self._made(request, job.folder)

    async def validate_request(self, request: WorkflowRequest) -> tuple[bool, str]:
        """(Whether it can take the request, why not)."""
        able, why = await super().validate_request(request)
        if able:
            why = checked(request)
        return (not why, why)

    async def _made(self, request: WorkflowRequest, folder: Path) -> WorkflowResult:
        made = await generate(generation_request(request), None, folder)
        return await asyncio.to_thread(workflow_result, made, unused(request))
