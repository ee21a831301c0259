"""Model families: one file each, listed in FAMILIES in the order in which `auto` tries them."""

from __future__ import annotations

from difflib import get_close_matches

from comfyops.errors import StoryboardError
from comfyops.storyboard import model_files
from comfyops.storyboard.families import qwen_image, sd15, sdxl
from comfyops.storyboard.families.family import Draft, Family, Models, Picture, Upload
from comfyops.storyboard.project import AUTO, Settings
from comfyops.workflows.node_types import NodeTypes

__all__ = ["FAMILIES", "Draft", "Family", "Models", "Picture", "Upload", "choose_family", "family_for", "named"]

FAMILIES: dict[str, Family] = {item.FAMILY.name: item.FAMILY for item in (sdxl, qwen_image, sd15)}


def named(name: str) -> Family:
    """The family of this name.

    Raises StoryboardError with the nearest name.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = get_close_matches(name, [*FAMILIES, AUTO], 1, 0.4)
    hint = f"Did you mean {near[0]}?" if near else None
    raise StoryboardError(f"There is no model family {name!r}; there are {', '.join([*FAMILIES, AUTO])}.", hint=hint)


def family_for(settings: Settings, types: NodeTypes) -> Family:
    """The family that these settings mean: the named one, else that of the named model, else what the server has.

    Raises StoryboardError.
    """
    if settings.family and settings.family != AUTO:
        return named(settings.family)
    if settings.model:
        return of_file(settings.model)
    return choose_family(types)[0]


def of_file(name: str) -> Family:
    """The family that a main model's file name tells; SD 1.5 for a name that tells none.

    Raises StoryboardError for a model of a family that is not here.
    """
    for family in FAMILIES.values():
        if family.claims(model_files.base(name)):
            return family
    raise StoryboardError(
        f"{name} is of no model family that storyboards know; they know {', '.join(FAMILIES)}.",
        hint="Name the family if this is one of them, or run a workflow of your own with `comfyops run`.",
    )


def choose_family(types: NodeTypes) -> tuple[Family, ...]:
    """The families that a server can serve with the files it has, best first.

    Raises StoryboardError naming files that would do, where it has none.
    """
    servable = tuple(family for family in FAMILIES.values() if _serves(family, types))
    if not servable:
        needs = "; or ".join(family.needs for family in FAMILIES.values())
        raise StoryboardError(
            "The server has the files of no model family that storyboards know.",
            hint=f"Put into the server's models folder: {needs}.",
            families=list(FAMILIES),
        )
    return servable


def _serves(family: Family, types: NodeTypes) -> bool:
    try:
        family.choose(Settings(), types)
    except StoryboardError:
        return False
    return True
