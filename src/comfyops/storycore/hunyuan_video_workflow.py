"""HunyuanVideo 1.5 as a workflow."""

from __future__ import annotations

from types import MappingProxyType

from comfyops.storycore.engine_workflow import EngineWorkflow
from comfyops.workflows.capabilities import Capability


class HunyuanVideoWorkflow(EngineWorkflow):
    """Videos from text or a picture, and videos made larger, by HunyuanVideo 1.5."""

    workflow_name = "hunyuan_video"
    families = ("hunyuan15",)
    capabilities = (Capability.TEXT_TO_VIDEO, Capability.IMAGE_TO_VIDEO, Capability.SUPER_RESOLUTION)
    supported_resolutions = ((1280, 720), (720, 1280), (1920, 1080), (848, 480))
    memory_requirements = MappingProxyType({"vram_peak": 24.0, "vram_sustained": 18.0, "system_ram": 32.0})
    assumed_quality = 0.85
    assumed_seconds = 240.0
