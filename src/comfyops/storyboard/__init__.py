"""Storyboards: projects of panels, and the graphs that render them. Pure: nothing here touches a network."""

from comfyops.storyboard.families import FAMILIES, choose_family
from comfyops.storyboard.loading import demo, load, template
from comfyops.storyboard.planning import PanelPlan, plan, plan_panel
from comfyops.storyboard.project import Project
from comfyops.storyboard.yaml_writer import dumps

__all__ = [
    "FAMILIES",
    "PanelPlan",
    "Project",
    "choose_family",
    "demo",
    "dumps",
    "load",
    "plan",
    "plan_panel",
    "template",
]
