"""Running workflows and rendering storyboards on a backend."""

from comfyops.execution.records import PanelState
from comfyops.execution.render import render
from comfyops.execution.results import PanelResult, PanelUpdate, RenderReport
from comfyops.execution.run import RunReport, run

__all__ = ["PanelResult", "PanelState", "PanelUpdate", "RenderReport", "RunReport", "render", "run"]
