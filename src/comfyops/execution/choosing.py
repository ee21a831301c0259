"""Which recipe serves a request on a server, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comfyops.errors import ComfyOpsError, UnsupportedError
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.generation import GenerationRequest, Quality, Refused
from comfyops.workflows import recipes
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import Recipe
from comfyops.workflows.recipes.recipe import KINDS


@dataclass(frozen=True, slots=True)
class Choice:
    """The recipe to take, and those that were better but refused, each with its reasons."""

    recipe: Recipe
    refused: tuple[Refused, ...]


def choose(request: GenerationRequest, types: NodeTypes) -> Choice:
    """The best recipe that this server can serve with what the request gives.

    Raises UnsupportedError where there is none, with every reason; UsageError for an unknown recipe or family.
    """
    refused: list[Refused] = []
    for recipe in _ordered(candidates(request), request):
        reasons = unfit(recipe, request) or tuple(item.sentence for item in recipe.missing(types))
        if not reasons:
            return Choice(recipe, tuple(refused))
        refused.append(Refused(recipe.name, reasons))
    raise _unserved(request, refused)


def candidates(request: GenerationRequest) -> Sequence[Recipe]:
    """Every recipe that has what is asked for."""
    if request.recipe:
        return (recipes.named(request.recipe),)
    wanted = request.capabilities
    found = recipes.serving(*wanted, family=request.family)
    if Capability.ALPHA_VIDEO in wanted and request.alpha is not AlphaMode.MODEL:
        others: list[Capability] = [item for item in wanted if item is not Capability.ALPHA_VIDEO]
        if not others:
            others = [Capability.IMAGE_TO_VIDEO if request.images else Capability.TEXT_TO_VIDEO]
        more = recipes.serving(*others, family=request.family)
        found = (*found, *(item for item in more if item not in found))
    return found


def unfit(recipe: Recipe, request: GenerationRequest) -> tuple[str, ...]:
    """Why a recipe cannot work with what the request gives; empty where it can."""
    least, most = recipe.images
    given = {"mask": request.mask is not None, "video": request.video is not None, "masks": _has_masks(request)}
    reasons = [f"it needs {KINDS[name]}" for name, is_given in given.items() if name in recipe.needs and not is_given]
    if not least <= len(request.images) <= most:
        words = str(least) if least == most else f"{least} to {most}"
        reasons.append(f"it takes {words} pictures, not {len(request.images)}")
    if given["video"] and "video" not in recipe.takes:
        reasons.append("it takes no video")
    if (given["mask"] or given["masks"]) and not recipe.takes & {"mask", "masks"}:
        reasons.append("it takes no mask")
    return tuple(reasons)


def _has_masks(request: GenerationRequest) -> bool:
    return bool(request.masks) or request.mask is not None


def _ordered(found: Sequence[Recipe], request: GenerationRequest) -> list[Recipe]:
    """As they are listed; few-step recipes first where it must be fast, last where it need not."""
    return sorted(found, key=lambda recipe: recipe.fast is not (request.quality is Quality.FAST))


def _unserved(request: GenerationRequest, refused: Sequence[Refused]) -> ComfyOpsError:
    wanted = request.recipe or " and ".join(request.capabilities)
    reasons = "; ".join(f"{item.recipe}: {', '.join(item.reasons[:3])}" for item in refused[:4])
    words = f"No workflow here can serve {wanted}" + (f": {reasons}." if reasons else ".")
    hint = "See what each needs in docs/capabilities.md, and put its files on the server."
    if Capability.VIDEO_GENERATION in request.capabilities:
        hint = "The local engine serves VIDEO_GENERATION alone, without other capabilities."
    facts = [{"recipe": item.recipe, "reasons": list(item.reasons)} for item in refused]
    return UnsupportedError(words, hint=hint, refused=facts)
