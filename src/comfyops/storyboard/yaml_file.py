"""The storyboard file: readable YAML, parsed once into a Project.

Errors name the place, such as `sequences[0].shots[1].panels[0].steps`, and the nearest known name where one is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from comfyops.errors import StoryboardError
from comfyops.storyboard import fields as f
from comfyops.storyboard import seeds
from comfyops.storyboard.project import (
    Character,
    ControlNet,
    IPAdapter,
    Lora,
    Panel,
    Project,
    Reference,
    Sequence,
    Settings,
    Shot,
    StyleAnchor,
)
from comfyops.support import yaml_text
from comfyops.support.files import read_bytes

MAX_BYTES = 4 * 1024 * 1024
Value = TypeVar("Value")


def read(path: Path) -> Project:
    """The project in a YAML file; pictures are looked for beside it.

    Raises MissingFileError, NotJsonError and StoryboardError.
    """
    data = read_bytes(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise StoryboardError(f"{path} is larger than {MAX_BYTES // 1024**2} MiB, too large for a storyboard.")
    return loads(data, path.parent, str(path))


def loads(text: str | bytes, folder: Path, where: str = "The storyboard") -> Project:
    """The project in a YAML text; `folder` is where its pictures' paths start.

    Raises NotJsonError and StoryboardError.
    """
    data = yaml_text.loads(text, where)
    if not isinstance(data, dict):
        raise StoryboardError(f"{where} is no storyboard: it does not hold `project` and `sequences`.")
    try:
        parsed = f.StoryboardFields.model_validate(data)
    except ValidationError as error:
        raise _error(error, where) from error
    project = _project(parsed, folder)
    check(project, where)
    return project


def check(project: Project, where: str = "The storyboard") -> None:
    """Check what several fields must agree on: ids used once, characters that exist, starts before ends.

    Raises StoryboardError.
    """
    for kind, found in (("sequence", project.sequences), ("shot", _shots(project)), ("panel", _panels(project))):
        _unique(kind, [item.id for item in found], where)
    for shot in _shots(project):
        _known_characters(f"Shot {shot.id}", shot.characters, project)
    for panel in _panels(project):
        _known_characters(f"Panel {panel.id}", panel.characters or (), project)
        guides = (*panel.controlnets, *([panel.ip_adapter] if panel.ip_adapter else ()))
        if any(guide.start >= guide.end for guide in guides):
            raise StoryboardError(f"Panel {panel.id} has a guide that ends before it starts.")


def _unique(kind: str, ids: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in ids:
        if name.casefold() in seen:
            raise StoryboardError(f"{where} has two {kind}s with the id {name}; ids differ in more than upper case.")
        seen.add(name.casefold())


def _known_characters(who: str, names: Iterable[str], project: Project) -> None:
    for name in names:
        if name not in project.characters:
            near = get_close_matches(name, project.characters, 1)
            hint = f"Did you mean {near[0]}?" if near else "Describe the character under `characters`."
            raise StoryboardError(f"{who} has the character {name}, which is not under `characters`.", hint=hint)


def _shots(project: Project) -> Iterator[Shot]:
    return (shot for sequence in project.sequences for shot in sequence.shots)


def _panels(project: Project) -> Iterator[Panel]:
    return (placed.panel for placed in project.panels())


def _error(error: ValidationError, where: str) -> StoryboardError:
    found = error.errors()
    places = [item["loc"] for item in found]
    problems = [
        _sentence(item["loc"], item["type"], item["msg"])
        for item in found
        if not any(place[: len(item["loc"])] == item["loc"] and place != item["loc"] for place in places)
    ]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return StoryboardError(f"{where}: {problems[0]}{more}.", problems=problems)


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    place = place_of(loc)
    if kind == "missing":
        return f"{place} is missing"
    if kind != "extra_forbidden":
        reason = message.removeprefix("Value error, ")
        return f"{place}: {reason[:1].lower()}{reason[1:]}"
    known = sorted(_model_at(loc[:-1]).model_fields)
    near = get_close_matches(str(loc[-1]), known, 2, 0.6)
    advice = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
    return f"{place} is not known there; {advice}"


def place_of(loc: Iterable[int | str]) -> str:
    """`("shots", 1, "steps")` as `shots[1].steps`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _model_at(loc: tuple[int | str, ...]) -> type[f.Fields]:
    names = [part for part in loc if isinstance(part, str)]
    if names[:1] == ["characters"]:
        return f.CharacterFields
    return f.BY_PLACE[names[-1] if names else ""]


def _project(parsed: f.StoryboardFields, folder: Path) -> Project:
    head = parsed.project
    return Project(
        id=head.id,
        title=head.title or head.id,
        seed=seeds.of_name(head.id) if head.seed is None else head.seed,
        style=StyleAnchor(parsed.style.prompt, parsed.style.negative, parsed.style.id),
        characters={name: _character(name, item, folder) for name, item in parsed.characters.items()},
        defaults=_settings(parsed.defaults),
        sequences=tuple(
            _sequence(item, item.id or f"s{number:02}", folder) for number, item in enumerate(parsed.sequences, 1)
        ),
    )


def _sequence(parsed: f.SequenceFields, name: str, folder: Path) -> Sequence:
    shots = tuple(_shot(item, item.id or f"{name}-sh{at:02}", folder) for at, item in enumerate(parsed.shots, 1))
    return Sequence(name, shots, parsed.title)


def _shot(parsed: f.ShotFields, name: str, folder: Path) -> Shot:
    panels = enumerate(parsed.panels, 1)
    return Shot(
        id=name,
        panels=tuple(_panel(item, item.id or f"{name}-p{at:02}", folder) for at, item in panels),
        title=parsed.title,
        prompt=parsed.prompt,
        negative=parsed.negative,
        camera=parsed.camera,
        lighting=parsed.lighting,
        characters=parsed.characters,
        settings=_settings(parsed),
    )


def _panel(parsed: f.PanelFields, name: str, folder: Path) -> Panel:
    return Panel(
        id=name,
        prompt=parsed.prompt,
        negative=parsed.negative,
        caption=parsed.caption,
        seed=parsed.seed,
        characters=parsed.characters,
        settings=_settings(parsed),
        reference=_with_image(Reference, parsed.reference, folder) if parsed.reference else None,
        controlnets=tuple(_with_image(ControlNet, item, folder) for item in parsed.controlnets),
        ip_adapter=_with_image(IPAdapter, parsed.ip_adapter, folder) if parsed.ip_adapter else None,
    )


def _character(name: str, parsed: f.CharacterFields, folder: Path) -> Character:
    image = folder / parsed.image if parsed.image else None
    return Character(name, parsed.prompt, parsed.name, parsed.negative, image)


def _settings(parsed: f.SettingsFields) -> Settings:
    names = [item.name for item in dataclass_fields(Settings)]
    settings = Settings(**{name: getattr(parsed, name) for name in names if name != "loras"})
    if parsed.loras is None:
        return settings
    loras = tuple(Lora(item.name, item.strength, item.clip_strength) for item in parsed.loras)
    return replace(settings, loras=loras)


def _with_image(kind: type[Value], parsed: f.Fields, folder: Path) -> Value:
    values: dict[str, Any] = parsed.model_dump()
    return kind(**{**values, "image": folder / values["image"]})
