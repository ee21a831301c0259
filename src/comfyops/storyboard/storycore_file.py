"""StoryCore's project folder as a Project: project.json, storyboard.json and sequences/*.json.

Source: the files that StoryCore-Engine writes (schema_version 1.0). A shot is one panel. The resolution there is that
of the finished film; pictures are rendered in its ratio, at the size the model family is good at. A shot's own seed is
used as it is; shots without one get theirs derived from `config.global_seed`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from comfyops.errors import MissingFileError, StoryboardError
from comfyops.storyboard import seeds, sizes, yaml_file
from comfyops.storyboard.project import Panel, Project, Sequence, Settings, Shot, StyleAnchor
from comfyops.support.files import read_bytes
from comfyops.workflows.api_format import load_json

Parsed = TypeVar("Parsed", bound=BaseModel)


class _Read(BaseModel):
    """Base: what StoryCore's files hold beyond these fields is not ours to judge."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class _Config(_Read):
    global_seed: int | None = Field(default=None, ge=0, le=seeds.LARGEST)
    target_aspect_ratio: str = "16:9"


class _Anchors(_Read):
    style_anchor_id: str = ""
    palette_id: str = ""
    lighting_direction: str = ""
    lighting_temperature: str = ""
    perspective_type: str = ""


class _ProjectFile(_Read):
    project_id: str = Field(min_length=1)
    config: _Config = _Config()
    coherence_anchors: _Anchors = _Anchors()


class _Technical(_Read):
    seed: int | None = Field(default=None, ge=-1, le=seeds.LARGEST)
    aspect_ratio: str = ""
    resolution: str = ""
    cfg_scale: float | None = Field(default=None, ge=0, le=100)
    steps: int | None = Field(default=None, ge=1, le=10_000)
    negative_prompt: str = ""


class _Modules(_Read):
    subject: str = ""
    camera: str = ""
    lighting: str = ""
    color: str = ""
    style: str = ""
    technical: _Technical = _Technical()


class _Shot(_Read):
    shot_id: str = Field(min_length=1)
    scene_id: str = ""
    shot_number: int = 0
    title: str = ""
    description: str = ""
    prompt_modules: _Modules = _Modules()


class _StoryboardFile(_Read):
    shots: list[_Shot] = Field(min_length=1)


class _SequenceFile(_Read):
    id: str = Field(min_length=1)
    name: str = ""
    order: int = 0
    shot_ids: list[str] = Field(default=[], validation_alias=AliasChoices("shot_ids", "shotIds"))


def is_project(folder: Path) -> bool:
    """Whether a folder is a StoryCore project."""
    return (folder / "project.json").is_file() and (folder / "storyboard.json").is_file()


def read(folder: Path) -> Project:
    """The project in a StoryCore project folder.

    Raises MissingFileError, NotJsonError and StoryboardError.
    """
    head = _parsed(folder / "project.json", _ProjectFile)
    shots = _parsed(folder / "storyboard.json", _StoryboardFile).shots
    _once([shot.shot_id for shot in shots], folder / "storyboard.json")
    files = sorted((folder / "sequences").glob("*.json"))
    listed = sorted((_parsed(path, _SequenceFile) for path in files), key=lambda item: (item.order, item.id))
    name = _as_id(head.project_id)
    project = Project(
        id=name,
        title=head.project_id.removeprefix("storycore_"),
        seed=seeds.of_name(name) if head.config.global_seed is None else head.config.global_seed,
        style=_style(head.coherence_anchors),
        defaults=Settings(size=_ratio(head.config.target_aspect_ratio, "config.target_aspect_ratio")),
        sequences=_sequences(listed, sorted(shots, key=lambda shot: shot.shot_number)),
    )
    yaml_file.check(project, str(folder))
    return project


def _parsed(path: Path, model: type[Parsed]) -> Parsed:
    data = load_json(read_bytes(path), str(path))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = yaml_file.place_of(first["loc"]) or "the file"
        raise StoryboardError(f"{path}: {place}: {first['msg'].lower()}.") from error


def _once(ids: list[str], path: Path) -> None:
    for name in ids:
        if ids.count(name) > 1:
            raise StoryboardError(f"{path} has {ids.count(name)} shots with the shot_id {name}.")


def _style(anchors: _Anchors) -> StyleAnchor:
    light = (
        " ".join(word for word in (anchors.lighting_temperature, "light") if word)
        if anchors.lighting_temperature
        else ""
    )
    direction = f"lit from the {anchors.lighting_direction}" if anchors.lighting_direction else ""
    perspective = f"{anchors.perspective_type} perspective" if anchors.perspective_type else ""
    words = (_words_of(anchors.style_anchor_id), _words_of(anchors.palette_id), light, direction, perspective)
    return StyleAnchor(prompt=", ".join(word for word in words if word), id=anchors.style_anchor_id)


def _words_of(anchor: str) -> str:
    """The words in an anchor's name: STYLE_CINE_REALISM_V1 as "cine realism style"."""
    kind, _, rest = re.sub(r"_V?\d+$", "", anchor).partition("_")
    return f"{rest} {kind}".replace("_", " ").lower().strip()


def _sequences(listed: list[_SequenceFile], shots: list[_Shot]) -> tuple[Sequence, ...]:
    """The listed sequences in order; shots in none of them follow as one of their own."""
    by_id = {shot.shot_id: shot for shot in shots}
    found: list[Sequence] = []
    for item in listed:
        mine = [by_id.pop(shot_id) for shot_id in item.shot_ids if shot_id in by_id]
        if mine:
            found.append(Sequence(_as_id(item.id), tuple(_shot(shot) for shot in mine), item.name))
    if by_id:
        found.append(Sequence("storyboard", tuple(_shot(shot) for shot in by_id.values()), "" if not found else "Rest"))
    return tuple(found)


def _shot(shot: _Shot) -> Shot:
    modules, technical = shot.prompt_modules, shot.prompt_modules.technical
    name = _as_id(shot.shot_id)
    said = technical.aspect_ratio or technical.resolution
    panel = Panel(
        id=name,
        prompt=modules.subject or shot.description,
        caption=shot.title,
        negative=technical.negative_prompt,
        seed=technical.seed,
        settings=Settings(
            size=_ratio(said, f"{shot.shot_id} technical.aspect_ratio") if said else None,
            steps=technical.steps,
            cfg=technical.cfg_scale,
        ),
    )
    prompt = ", ".join(word for word in (modules.color, modules.style) if word)
    return Shot(name, (panel,), shot.title, prompt, camera=modules.camera, lighting=modules.lighting)


def _ratio(text: str, where: str) -> sizes.Ratio:
    try:
        found = re.fullmatch(r"\s*(\d{1,5})\s*[:x×]\s*(\d{1,5})\s*", text)
        if not found:
            raise ValueError(f"{text!r} is no ratio; write 16:9")
        return sizes.checked_ratio(int(found[1]), int(found[2]))
    except ValueError as error:
        raise StoryboardError(f"{where}: {error}.") from error


def _as_id(text: str) -> str:
    """A name as an id that is safe in file names."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:64].strip("._-")
    if not clean:
        raise StoryboardError(f"{text!r} holds no letter or digit to make an id from.")
    return clean


def missing_message(folder: Path) -> MissingFileError:
    """The error for a folder that is no project."""
    return MissingFileError(
        f"{folder} is no StoryCore project: it does not hold project.json and storyboard.json.", path=str(folder)
    )
