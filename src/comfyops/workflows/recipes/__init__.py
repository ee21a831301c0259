"""Recipes: one real workflow for each thing that somebody may want, one file per family, all listed in RECIPES.

An official template is preferred; a graph is written by hand only where `Recipe.source` says why.
"""

from __future__ import annotations

from difflib import get_close_matches

from comfyops.errors import UsageError
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.recipes import (
    anime,
    flux2,
    hunyuan15,
    ltx2,
    others,
    qwen_edit,
    qwen_image,
    sd,
    upscaling,
    wan22,
    wan22_vace,
    wan_alpha,
    wan_vace,
    z_image,
)
from comfyops.workflows.recipes.recipe import (
    Defaults,
    Lora,
    Missing,
    ModelFile,
    Parameter,
    Recipe,
    Requirements,
    Source,
    Values,
)

__all__ = [
    "RECIPES",
    "Defaults",
    "Lora",
    "Missing",
    "ModelFile",
    "Parameter",
    "Recipe",
    "Requirements",
    "Source",
    "Values",
    "named",
    "serving",
]

_FAMILIES = (
    qwen_image,
    qwen_edit,
    flux2,
    z_image,
    sd,
    anime,
    upscaling,
    hunyuan15,
    wan22,
    ltx2,
    wan_vace,
    wan22_vace,
    wan_alpha,
    others,
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for family in _FAMILIES for recipe in family.RECIPES}
"""Every recipe by its name, in the order in which they are preferred."""


def named(name: str) -> Recipe:
    """The recipe of this name.

    Raises UsageError with the nearest names.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = get_close_matches(name, RECIPES, 3, 0.4) or list(RECIPES)[:3]
    raise UsageError(f"There is no recipe {name!r}.", hint=f"Did you mean {', '.join(near)}?", nearest=near)


def serving(*capabilities: Capability, family: str = "") -> tuple[Recipe, ...]:
    """The recipes that have all these capabilities, of this family where one is named, best first.

    Raises UsageError for a family that is not here.
    """
    families = {recipe.family for recipe in RECIPES.values()}
    if family and family not in families:
        near = get_close_matches(family, families, 3, 0.3) or sorted(families)
        raise UsageError(f"There is no family {family!r} of recipes.", hint=f"There are {', '.join(near)}.")
    wanted = frozenset(capabilities)
    return tuple(
        recipe for recipe in RECIPES.values() if wanted <= recipe.capabilities and family in ("", recipe.family)
    )
