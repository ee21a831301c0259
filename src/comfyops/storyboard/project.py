"""A storyboard as values: project > sequences > shots > panels. One panel becomes one picture.

What a panel leaves open comes from its shot, then from the project's defaults, then from the model family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType

from comfyops.storyboard.sizes import Ratio, Size

AUTO = "auto"
"""The family that stands for: whichever the server has the files of."""

DRAW = -1
"""The seed that stands for: draw one and record it."""


@dataclass(frozen=True, slots=True)
class StyleAnchor:
    """The look all pictures share; `id` is StoryCore's name for it."""

    prompt: str = ""
    negative: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Character:
    """Somebody who looks the same in every panel. `image` is a picture of them for IP-Adapter."""

    id: str
    prompt: str
    name: str = ""
    negative: str = ""
    image: Path | None = None


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA file and how strongly it changes the model and the text encoder (None = as the model)."""

    name: str
    strength: float = 1.0
    clip_strength: float | None = None


@dataclass(frozen=True, slots=True)
class ControlNet:
    """A picture that guides the composition from the fraction `start` to the fraction `end` of the steps.

    `preprocessor` makes the guide from an ordinary picture: "auto" (told from the model's name), "none" (the picture is
    a finished guide), a kind such as "openpose", or a node class.
    """

    model: str
    image: Path
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    preprocessor: str = AUTO


@dataclass(frozen=True, slots=True)
class IPAdapter:
    """A picture whose subject or look is taken over. Without `model`, the preset chooses the files."""

    image: Path
    weight: float = 0.7
    start: float = 0.0
    end: float = 1.0
    preset: str = "STANDARD (medium strength)"
    model: str = ""
    clip_vision: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture to start from; `denoise` is how much of it is drawn anew (1 = all)."""

    image: Path
    denoise: float = 0.6


@dataclass(frozen=True, slots=True)
class Settings:
    """How a picture is sampled; None means "not said here"."""

    family: str | None = None
    model: str | None = None
    vae: str | None = None
    text_encoder: str | None = None
    loras: tuple[Lora, ...] | None = None
    clip_skip: int | None = None
    size: Size | Ratio | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None

    def over(self, other: Settings) -> Settings:
        """These settings, completed by the other ones."""
        given = {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}
        return replace(other, **given)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `seed` None = derived from project and id, DRAW = drawn; `characters` None = those of the shot."""

    id: str
    prompt: str = ""
    negative: str = ""
    caption: str = ""
    seed: int | None = None
    characters: tuple[str, ...] | None = None
    settings: Settings = Settings()
    reference: Reference | None = None
    controlnets: tuple[ControlNet, ...] = ()
    ip_adapter: IPAdapter | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """One camera view; what is said here holds for all its panels."""

    id: str
    panels: tuple[Panel, ...]
    title: str = ""
    prompt: str = ""
    negative: str = ""
    camera: str = ""
    lighting: str = ""
    characters: tuple[str, ...] = ()
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class Sequence:
    """Shots in order."""

    id: str
    shots: tuple[Shot, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel with all that stands above it; `number` counts the project's panels from 1."""

    number: int
    sequence: Sequence
    shot: Shot
    panel: Panel


@dataclass(frozen=True, slots=True)
class Project:
    """A whole storyboard. `seed` is the one that panels' seeds are derived from."""

    id: str
    seed: int
    sequences: tuple[Sequence, ...]
    title: str = ""
    style: StyleAnchor = StyleAnchor()
    characters: Mapping[str, Character] = field(default_factory=dict)
    defaults: Settings = Settings()

    def __post_init__(self) -> None:
        object.__setattr__(self, "characters", MappingProxyType(dict(self.characters)))

    def panels(self) -> Iterator[Placed]:
        """Every panel, in order."""
        number = 0
        for sequence in self.sequences:
            for shot in sequence.shots:
                for panel in shot.panels:
                    number += 1
                    yield Placed(number, sequence, shot, panel)

    def settings_of(self, placed: Placed) -> Settings:
        """What panel, shot and project say together; the family fills in the rest."""
        return placed.panel.settings.over(placed.shot.settings.over(self.defaults))

    def characters_of(self, placed: Placed) -> tuple[Character, ...]:
        """The characters in a panel."""
        names = placed.shot.characters if placed.panel.characters is None else placed.panel.characters
        return tuple(self.characters[name] for name in names)
