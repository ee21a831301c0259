"""Small storyboards."""

from __future__ import annotations

from pathlib import Path

from comfyops.storyboard import yaml_file
from comfyops.storyboard.project import Project

NO_FOLDER = Path("pictures")


def board(panels: str = "- prompt: a fox", *, extra: str = "", folder: Path = NO_FOLDER) -> Project:
    """A project with one shot of these panels (YAML, not indented); `extra` is more YAML at the top."""
    inner = "\n".join("          " + line for line in panels.splitlines())
    text = f"project: {{id: fox, seed: 7}}\n{extra}\nsequences:\n  - shots:\n      - panels:\n{inner}\n"
    return yaml_file.loads(text, folder)
