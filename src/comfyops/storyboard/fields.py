"""What a storyboard file may say: every field with its bounds. docs/storyboard.md describes the same fields.

Only `yaml_file` uses these; everything else works with the frozen values in `project`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from comfyops.storyboard import seeds, sizes
from comfyops.storyboard.project import AUTO, DRAW

_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def _id(text: str) -> str:
    if text and not _ID.fullmatch(text):
        raise ValueError(f"{text!r} is no id; an id is up to 64 letters, digits, dots, hyphens or underscores")
    return text


def _size(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no size; write 768x432 (pixels) or 16:9 (a ratio)")
    return sizes.parse(value)


Id = Annotated[str, AfterValidator(_id)]
Int = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Strength = Annotated[Number, Field(ge=-100, le=100)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Seed = Annotated[Int, Field(ge=DRAW, le=seeds.LARGEST)]
SizeField = Annotated[Any, BeforeValidator(_size)]


class Fields(BaseModel):
    """Base: unknown names are refused, numbers may stand where text is meant."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)


class LoraFields(Fields):
    """One LoRA."""

    name: str = Field(min_length=1, description="File of the LoRA on the server; its extension may be left out.")
    strength: Strength = Field(default=1.0, description="How strongly it changes the model.")
    clip_strength: Strength | None = Field(
        default=None, description="How strongly it changes the text encoder; as `strength` where not given."
    )


class SettingsFields(Fields):
    """How pictures are sampled. Allowed under `defaults`, in a shot and in a panel; the innermost counts."""

    family: str | None = Field(
        default=None,
        description="Model family: auto (what the server has files of), sd15, sdxl or qwen_image.",
    )
    model: str | None = Field(
        default=None, description="Main model file (checkpoint, or diffusion model). Chosen by the family otherwise."
    )
    vae: str | None = Field(default=None, description="VAE file. The checkpoint's own one otherwise.")
    text_encoder: str | None = Field(default=None, description="Text encoder file, for families that load it alone.")
    loras: tuple[LoraFields, ...] | None = Field(default=None, description="LoRAs, applied in order.")
    clip_skip: Annotated[Int, Field(ge=1, le=12)] | None = Field(
        default=None, description="Take the text encoder's output that many layers from its end (1 = the last)."
    )
    size: SizeField = Field(
        default=None, description="Size in pixels (768x432), or a ratio (16:9) for the family's own number of pixels."
    )
    steps: Annotated[Int, Field(ge=1, le=10_000)] | None = Field(default=None, description="Sampling steps.")
    cfg: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        default=None, description="How closely the picture follows the prompt (classifier-free guidance)."
    )
    sampler: str | None = Field(default=None, description="Sampler, in the server's words, such as euler.")
    scheduler: str | None = Field(default=None, description="Noise schedule, in the server's words, such as karras.")


class ReferenceFields(Fields):
    """A picture to start from (image to image)."""

    image: str = Field(min_length=1, description="Picture file, relative to the storyboard file.")
    denoise: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.6, description="How much of it is drawn anew: near 0 little, 1 all."
    )


class ControlNetFields(Fields):
    """A picture that guides the composition."""

    model: str = Field(min_length=1, description="ControlNet file on the server; its extension may be left out.")
    image: str = Field(min_length=1, description="Picture file, relative to the storyboard file.")
    strength: Annotated[Number, Field(ge=0, le=10)] = Field(default=1.0, description="How strongly it guides.")
    start: Fraction = Field(default=0.0, description="Fraction of the steps at which it begins.")
    end: Fraction = Field(default=1.0, description="Fraction of the steps at which it ends.")
    preprocessor: str = Field(
        default=AUTO,
        description="What makes the guide from the picture: auto, none, a kind (openpose, depth, canny, lineart) or a "
        "node class. Left out where the server has no such node.",
    )


class IPAdapterFields(Fields):
    """A picture whose subject or look is taken over."""

    image: str = Field(min_length=1, description="Picture file, relative to the storyboard file.")
    weight: Annotated[Number, Field(ge=-1, le=5)] = Field(default=0.7, description="How strongly.")
    start: Fraction = Field(default=0.0, description="Fraction of the steps at which it begins.")
    end: Fraction = Field(default=1.0, description="Fraction of the steps at which it ends.")
    preset: str = Field(
        default="STANDARD (medium strength)", description="Preset that chooses the files, where `model` is not given."
    )
    model: str = Field(default="", description="IP-Adapter file on the server.")
    clip_vision: str = Field(default="", description="CLIP vision file on the server, with `model`.")


class PanelFields(SettingsFields):
    """One picture."""

    id: Id = Field(default="", description="Name of the panel and of its files, unique in the project; its place else.")
    prompt: str = Field(default="", description="What the picture shows. {name} stands for a character's description.")
    negative: str = Field(default="", description="What it must not show.")
    caption: str = Field(default="", description="Text below it on the contact sheet and in the report.")
    seed: Seed | None = Field(
        default=None, description="Seed. Derived from project seed and panel id else; -1 draws one and records it."
    )
    characters: tuple[str, ...] | None = Field(
        default=None, description="Who is in it, instead of the shot's characters."
    )
    reference: ReferenceFields | None = Field(default=None, description="A picture to start from.")
    controlnets: tuple[ControlNetFields, ...] = Field(default=(), description="Pictures that guide the composition.")
    ip_adapter: IPAdapterFields | None = Field(
        default=None, description="A picture whose subject or look is taken over; needs its nodes on the server."
    )


class ShotFields(SettingsFields):
    """One camera view; what it says holds for all its panels."""

    id: Id = Field(default="", description="Name of the shot.")
    title: str = Field(default="", description="Title.")
    prompt: str = Field(default="", description="What all its panels show, such as the place.")
    negative: str = Field(default="", description="What none of its panels must show.")
    camera: str = Field(default="", description="Camera, in words: wide shot, low angle.")
    lighting: str = Field(default="", description="Light, in words: moonlight, lantern glow.")
    characters: tuple[str, ...] = Field(default=(), description="Who is in it.")
    panels: tuple[PanelFields, ...] = Field(min_length=1, description="The shot's panels.")


class SequenceFields(Fields):
    """Shots in order."""

    id: Id = Field(default="", description="Name of the sequence.")
    title: str = Field(default="", description="Title.")
    shots: tuple[ShotFields, ...] = Field(min_length=1, description="The sequence's shots.")


class StyleFields(Fields):
    """The look all pictures share."""

    id: str = Field(default="", description="Name of the style, StoryCore's style anchor.")
    prompt: str = Field(default="", description="Words added to every prompt.")
    negative: str = Field(default="", description="Words added to every negative prompt.")


class CharacterFields(Fields):
    """Somebody who looks the same in every panel."""

    name: str = Field(default="", description="Name, put before the description.")
    prompt: str = Field(min_length=1, description="What they look like.")
    negative: str = Field(default="", description="What they must not look like.")
    image: str | None = Field(
        default=None, description="A picture of them, used with IP-Adapter where the server has its nodes."
    )


class ProjectFields(Fields):
    """The project."""

    id: Id = Field(min_length=1, description="Name of the project; seeds depend on it where `seed` is not given.")
    title: str = Field(default="", description="Title on the contact sheet and in the report.")
    seed: Annotated[Int, Field(ge=0, le=seeds.LARGEST)] | None = Field(
        default=None, description="Seed that the panels' seeds are derived from. Made from the id else."
    )


class StoryboardFields(Fields):
    """The whole file."""

    project: ProjectFields = Field(description="The project.")
    style: StyleFields = Field(default=StyleFields(), description="The look all pictures share.")
    characters: dict[Id, CharacterFields] = Field(default={}, description="Characters by id.")
    defaults: SettingsFields = Field(default=SettingsFields(), description="How pictures are sampled.")
    sequences: tuple[SequenceFields, ...] = Field(min_length=1, description="The sequences.")


BY_PLACE: dict[str, type[Fields]] = {
    "": StoryboardFields,
    "project": ProjectFields,
    "style": StyleFields,
    "characters": CharacterFields,
    "defaults": SettingsFields,
    "sequences": SequenceFields,
    "shots": ShotFields,
    "panels": PanelFields,
    "loras": LoraFields,
    "reference": ReferenceFields,
    "controlnets": ControlNetFields,
    "ip_adapter": IPAdapterFields,
}
"""What may stand under each name of the file."""
