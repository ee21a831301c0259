"""Wan as a workflow."""

from __future__ import annotations

from types import MappingProxyType

from comfyops.storycore.engine_workflow import EngineWorkflow
from comfyops.storycore.workflow_values import WorkflowRequest
from comfyops.workflows.capabilities import Capability


class WanVideoWorkflow(EngineWorkflow):
    """Videos from text or a picture, videos with transparency, and videos changed inside a mask, by Wan 2.1 and 2.2.

    The parameter `use_multi_stage` (true by default) prefers the two-stage recipe for masks.
    """

    workflow_name = "wan_video"
    families = ("wan22", "wan-vace", "wan22-vace", "wan-alpha")
    capabilities = (
        Capability.TEXT_TO_VIDEO,
        Capability.IMAGE_TO_VIDEO,
        Capability.VIDEO_INPAINTING,
        Capability.ALPHA_VIDEO,
    )
    supported_resolutions = ((832, 480), (480, 832), (1280, 720), (720, 1280))
    memory_requirements = MappingProxyType({"vram_peak": 24.0, "vram_sustained": 16.0, "system_ram": 32.0})
    assumed_quality = 0.8
    assumed_seconds = 180.0

    def families_for(self, request: WorkflowRequest) -> tuple[str, ...]:
        """By capability: masks are for VACE, transparency for Wan Alpha, then for mattes of what Wan 2.2 makes."""
        needs = set(request.needs())
        if Capability.VIDEO_INPAINTING in needs:
            two_stage = bool(request.parameters.get("use_multi_stage", True))
            return ("wan22-vace", "wan-vace") if two_stage else ("wan-vace", "wan22-vace")
        if Capability.ALPHA_VIDEO in needs:
            return ("wan-alpha", "wan22")
        return ("wan22",)
