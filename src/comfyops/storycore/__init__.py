"""The documented StoryCore names, on top of ComfyOps: put `comfyops.storycore` where the documents say `src`.

The names here are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, WorkflowRequest, WorkflowResult
    from comfyops.storycore.advanced_workflow_manager import AdvancedWorkflowManager
    from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry
    from comfyops.storycore.comfyui_config import ComfyUIConfig, ControlNetConfig, IPAdapterConfig
    from comfyops.storycore.comfyui_workflow import ComfyUIWorkflow, ValidationResult, WorkflowMetadata, WorkflowNode
    from comfyops.storycore.hunyuan_video_integration import HunyuanVideoIntegration
    from comfyops.storycore.hunyuan_video_workflow import HunyuanVideoWorkflow
    from comfyops.storycore.legacy_video_workflow import LegacyVideoWorkflow
    from comfyops.storycore.still_image_workflow import StillImageWorkflow
    from comfyops.storycore.wan_video_integration import WanVideoIntegration
    from comfyops.storycore.wan_video_workflow import WanVideoWorkflow
    from comfyops.storycore.workflow_executor import ExecutionResult, StoryCorePanelConfig, WorkflowExecutor

_MODULES = {
    "AdvancedWorkflowManager": "advanced_workflow_manager",
    "AdvancedWorkflowRegistry": "advanced_workflow_registry",
    "BaseAdvancedWorkflow": "advanced_workflow_base",
    "ComfyUIConfig": "comfyui_config",
    "ComfyUIWorkflow": "comfyui_workflow",
    "ControlNetConfig": "comfyui_config",
    "ExecutionResult": "workflow_executor",
    "HunyuanVideoIntegration": "hunyuan_video_integration",
    "HunyuanVideoWorkflow": "hunyuan_video_workflow",
    "IPAdapterConfig": "comfyui_config",
    "LegacyVideoWorkflow": "legacy_video_workflow",
    "StillImageWorkflow": "still_image_workflow",
    "StoryCorePanelConfig": "workflow_executor",
    "ValidationResult": "comfyui_workflow",
    "WanVideoIntegration": "wan_video_integration",
    "WanVideoWorkflow": "wan_video_workflow",
    "WorkflowExecutor": "workflow_executor",
    "WorkflowMetadata": "comfyui_workflow",
    "WorkflowNode": "comfyui_workflow",
    "WorkflowRequest": "advanced_workflow_base",
    "WorkflowResult": "advanced_workflow_base",
}

__all__ = [
    "AdvancedWorkflowManager",
    "AdvancedWorkflowRegistry",
    "BaseAdvancedWorkflow",
    "ComfyUIConfig",
    "ComfyUIWorkflow",
    "ControlNetConfig",
    "ExecutionResult",
    "HunyuanVideoIntegration",
    "HunyuanVideoWorkflow",
    "IPAdapterConfig",
    "LegacyVideoWorkflow",
    "StillImageWorkflow",
    "StoryCorePanelConfig",
    "ValidationResult",
    "WanVideoIntegration",
    "WanVideoWorkflow",
    "WorkflowExecutor",
    "WorkflowMetadata",
    "WorkflowNode",
    "WorkflowRequest",
    "WorkflowResult",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
