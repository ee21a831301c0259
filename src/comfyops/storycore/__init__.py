"""The documented StoryCore names, on top of ComfyOps: put `comfyops.storycore` where the documents say `src`."""

from comfyops.storycore.comfyui_config import ComfyUIConfig, ControlNetConfig, IPAdapterConfig
from comfyops.storycore.comfyui_workflow import ComfyUIWorkflow, ValidationResult, WorkflowMetadata, WorkflowNode
from comfyops.storycore.workflow_executor import ExecutionResult, StoryCorePanelConfig, WorkflowExecutor

__all__ = [
    "ComfyUIConfig",
    "ComfyUIWorkflow",
    "ControlNetConfig",
    "ExecutionResult",
    "IPAdapterConfig",
    "StoryCorePanelConfig",
    "ValidationResult",
    "WorkflowExecutor",
    "WorkflowMetadata",
    "WorkflowNode",
]
