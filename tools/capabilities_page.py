"""The tables of docs/capabilities.md, written from the recipes themselves: python tools/capabilities_page.py"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from comfyops.workflows import node_types
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.recipes import RECIPES, Recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "capabilities.md"
_TABLE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(page: str) -> str:
    """The page with its tables written anew."""
    makers = {"capabilities": _capabilities, "recipes": _recipes, "models": _models}
    return _TABLE.sub(lambda found: found[1] + "\n".join(makers[found[2]]()) + "\n" + found[3], page)


def _capabilities() -> Iterator[str]:
    yield "| capability | served by |"
    yield "|---|---|"
    for capability in Capability:
        names = [f"`{recipe.name}`" for recipe in RECIPES.values() if capability in recipe.capabilities]
        if capability is Capability.VIDEO_GENERATION:
            names = ["the local engine: no server, no model"]
        yield f"| `{capability.name}` | {', '.join(names)} |"


def _recipes() -> Iterator[str]:
    yield "| recipe | what it does | where its graph comes from | ComfyUI | VRAM | sizes | frames |"
    yield "|---|---|---|---|---|---|---|"
    for recipe in RECIPES.values():
        size = f"multiples of {recipe.size.multiple}" if recipe.size else "those of what goes in"
        frames = f"{recipe.length.step}n + 1" if recipe.length else ""
        source = f"`{recipe.source.template}`" if recipe.source.template else recipe.source.title
        row = (f"`{recipe.name}`", recipe.title, source, oldest(recipe), f"{recipe.vram_gb} GB", size, frames)
        yield f"| {' | '.join(row)} |"


def oldest(recipe: Recipe) -> str:
    """The oldest ComfyUI whose node facts come with ComfyOps and that has the recipe's nodes."""
    for version in reversed(node_types.SHIPPED):
        if not recipe.missing(node_types.shipped(version)):
            return version
    return recipe.version


def _models() -> Iterator[str]:
    yield "| recipe | models |"
    yield "|---|---|"
    for recipe in RECIPES.values():
        files = [
            f"[{file.folder}/{file.name}]({file.url})" if file.url else f"{file.folder}/{file.name}"
            for file in recipe.required().files
        ]
        yield f"| `{recipe.name}` | {', '.join(files)} |"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
