"""Finding out which of the storyboard formats a path is, and the storyboards that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from comfyops.storyboard import storycore_file, yaml_file
from comfyops.storyboard.project import Project


def load(path: Path) -> Project:
    """The storyboard at a path: a YAML file, StoryCore's project folder, or a file in it.

    Raises MissingFileError, NotJsonError and StoryboardError.
    """
    if path.is_dir():
        if not storycore_file.is_project(path):
            raise storycore_file.missing_message(path)
        return storycore_file.read(path)
    if path.name in ("project.json", "storyboard.json") and storycore_file.is_project(path.parent):
        return storycore_file.read(path.parent)
    return yaml_file.read(path)


def demo() -> Project:
    """The four panels that `make demo` renders."""
    return yaml_file.loads(_data("demo.yaml"), Path(), "The demo storyboard")


def template() -> str:
    """The storyboard that `storyboard init` writes, with comments."""
    return _data("template.yaml")


def _data(name: str) -> str:
    return resources.files("comfyops.storyboard").joinpath("data", name).read_text(encoding="utf-8")
