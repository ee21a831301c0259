"""A Project as a storyboard file: the way from StoryCore's project to the readable form."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from comfyops.storyboard.project import Panel, Project, Sequence, Shot
from comfyops.storyboard.sizes import Ratio, Size
from comfyops.support import yaml_text


def dumps(project: Project, folder: Path) -> str:
    """YAML that `yaml_file.loads` reads back as the same project; pictures' paths are relative to `folder`."""
    data = {
        "project": {"id": project.id, "title": project.title, "seed": project.seed},
        "style": _given(project.style, folder),
        "characters": {name: _given(one, folder, leave=("id",)) for name, one in project.characters.items()},
        "defaults": _given(project.defaults, folder),
        "sequences": [_sequence(item, folder) for item in project.sequences],
    }
    return yaml_text.dumps({key: value for key, value in data.items() if value})


def _sequence(sequence: Sequence, folder: Path) -> dict[str, Any]:
    return {**_given(sequence, folder, leave=("shots",)), "shots": [_shot(shot, folder) for shot in sequence.shots]}


def _shot(shot: Shot, folder: Path) -> dict[str, Any]:
    own = _given(shot, folder, leave=("panels", "settings"))
    return {**own, **_given(shot.settings, folder), "panels": [_panel(panel, folder) for panel in shot.panels]}


def _panel(panel: Panel, folder: Path) -> dict[str, Any]:
    return {**_given(panel, folder, leave=("settings",)), **_given(panel.settings, folder)}


def _given(value: Any, folder: Path, leave: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a value says beyond its defaults."""
    names = [item.name for item in fields(value) if item.name not in leave]
    plain = {name: _plain(getattr(value, name), folder) for name in names}
    given = {name: item for name, item in plain.items() if item not in ("", None)}
    defaults = {item.name: item.default for item in fields(value)}
    return {name: item for name, item in given.items() if getattr(value, name) != defaults[name]}


def _plain(value: Any, folder: Path) -> Any:
    if isinstance(value, Size | Ratio):
        return str(value)
    if isinstance(value, Path):
        return (value.relative_to(folder) if value.is_relative_to(folder) else value).as_posix()
    if isinstance(value, tuple):
        return [_plain(item, folder) for item in value]
    if isinstance(value, str | int | float | None):
        return value
    return _given(value, folder)
