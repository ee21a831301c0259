"""Pictures by any family of models, as a workflow."""

from __future__ import annotations

from types import MappingProxyType

from comfyops.storycore.engine_workflow import EngineWorkflow
from comfyops.storycore.workflow_values import WorkflowType
from comfyops.workflows.capabilities import Capability


class StillImageWorkflow(EngineWorkflow):
    """Pictures made, edited, relit, taken apart or made larger, by the first recipe that the server can serve."""

    workflow_name = "still_image"
    workflow_category = WorkflowType.IMAGE
    families = ("",)
    capabilities = (
        Capability.TEXT_TO_IMAGE,
        Capability.IMAGE_TO_IMAGE,
        Capability.IMAGE_EDITING,
        Capability.INPAINTING,
        Capability.CONTROLNET,
        Capability.SUPER_RESOLUTION,
        Capability.IMAGE_RELIGHTING,
        Capability.LAYERED_GENERATION,
        Capability.ANIME_GENERATION,
    )
    supported_resolutions = ((1024, 1024), (1328, 1328))
    memory_requirements = MappingProxyType({"vram_peak": 12.0, "vram_sustained": 10.0, "system_ram": 16.0})
    assumed_quality = 0.8
    assumed_seconds = 30.0
