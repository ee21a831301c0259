"""The workflows that come with ComfyOps."""

from __future__ import annotations

from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow
from comfyops.storycore.hunyuan_video_workflow import HunyuanVideoWorkflow
from comfyops.storycore.legacy_video_workflow import LegacyVideoWorkflow
from comfyops.storycore.still_image_workflow import StillImageWorkflow
from comfyops.storycore.wan_video_workflow import WanVideoWorkflow

BUILT_IN: tuple[tuple[str, str, type[BaseAdvancedWorkflow]], ...] = tuple(
    (workflow.workflow_category, workflow.workflow_name, workflow)
    for workflow in (HunyuanVideoWorkflow, WanVideoWorkflow, LegacyVideoWorkflow, StillImageWorkflow)
)
"""(category, name, class) of each."""
