"""Each recipe on the simulator: a picture or playable video of the size and length asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyops.backends.comfyui import ComfyUI
from comfyops.execution.generate import generate
from comfyops.execution.generation import Engine, GenerationRequest
from comfyops.simulator import Simulator
from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.recipes import RECIPES, Recipe
from tests.unit.execution.pictures import SIZE, clip, disc, left_half

pytest.importorskip("comfyui_workflow_templates_json")

FRAMES = 10  # no length of any of the models


def asked(recipe: Recipe) -> dict[str, Any]:
    """What the recipe is given: a size and a length that it does not make, and all that it needs."""
    given: dict[str, Any] = {"images": tuple(disc(c) for c in ("navy", "green", "red")[: recipe.images[0]])}
    if recipe.defaults.width and recipe.defaults.height:
        given |= {"width": SIZE[0], "height": SIZE[1]}
    if recipe.length:
        given |= {"frames": FRAMES, "fps": 12.0}
    if "mask" in recipe.needs or "masks" in recipe.needs:
        given["mask"] = left_half()
    if "video" in recipe.needs:
        given["video"] = clip(FRAMES)
    return given


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
async def test_a_recipe_gives_what_was_asked_for(recipe: Recipe, tmp_path: Path) -> None:
    request = GenerationRequest(capabilities=(), recipe=recipe.name, prompt="a lighthouse", seed=3, **asked(recipe))
    async with Simulator(SimulatorSettings(port=0, home=tmp_path / "server")) as sim, ComfyUI(sim.url) as backend:
        result = await generate(request, backend, tmp_path / "out")
    assert result.ok and result.engine is Engine.SIMULATOR and result.simulated
    assert all(path.stat().st_size > 200 for path in result.outputs)
    if recipe.makes in ("audio", "3d"):
        assert {path.suffix for path in result.outputs} <= {".flac", ".glb"}
        return
    shown = list(result.frames)
    assert len(shown) == len(result.frames) == (FRAMES if recipe.makes == "video" else _pictures(recipe))
    sizes = {picture.size for picture in shown}
    if recipe.defaults.width:
        assert sizes == {SIZE}
    else:
        assert len(sizes) == 1
    assert result.seed == 3 and result.provenance["recipe"] == recipe.name
    if recipe.length:
        assert result.fps == 12.0 and result.frames.fps == pytest.approx(12.0, abs=0.1)


def _pictures(recipe: Recipe) -> int:
    return 2 if recipe.name == "qwen-image-layered" else 1
