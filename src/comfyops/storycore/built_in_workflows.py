"""The workflows that come with ComfyOps."""

from __future__ import annotations

from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow

BUILT_IN: tuple[tuple[str, str, type[BaseAdvancedWorkflow]], ...] = ()
"""(category, name, class) of each."""
