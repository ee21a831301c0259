"""Official templates of several kinds run on the simulator with values set by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.filling import fill
from comfyops.execution.run import run
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.workflows import embedded, library
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import InputKind, pins
from comfyops.workflows.library import Library
from comfyops.workflows.node_types import shipped

TYPES = shipped("0.33.0")
SMALL = {"width": 64, "height": 64, "frames": 9, "duration": 1, "steps": 2}
TEMPLATES = [
    ("flux_schnell", ".png"),
    ("image_z_image_turbo", ".png"),
    ("image_qwen_image_edit_2509", ".png"),
    ("image_qwen_image_layered", ".png"),
    ("video_wan2_2_14B_t2v", ".mp4"),
    ("wan2.1_flf2v_720_f16", ".mp4"),
    ("video_ltx2_t2v", ".mp4"),
    ("audio_stable_audio_3_medium", ".mp3"),
    ("api_recraft_vector_gen", ".svg"),
    ("api_openrouter_gpt5_6_sol", ".txt"),
]


def models_of(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The files that a graph names, by folder, so that the simulated server has them."""
    found: dict[str, set[str]] = {}
    for node in graph:
        for name, value in (node.inputs or {}).items():
            folder = TYPES.folder(node.class_type or "", name)
            if folder not in (None, "input") and isinstance(value, str):
                found.setdefault(folder, set()).add(value)
    return {folder: tuple(sorted(names)) for folder, names in found.items()}


@pytest.mark.parametrize(("name", "ending"), TEMPLATES)
async def test_a_template_runs_with_prompt_seed_size_and_files_by_name(name: str, ending: str, tmp_path: Path) -> None:
    graph = embedded.workflows(library.read(Library().get(name)), name).graph(TYPES)
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "picture.png")
    settings = SimulatorSettings(port=0, models=models_of(graph))
    async with Simulator(settings) as simulator, ComfyUI(simulator.url) as backend:
        types = await backend.node_types()
        prepared = pins.prepare(graph, types)
        given: dict[str, object] = {"prompt": "a red fox"}
        for item in prepared.inputs:
            if item.kind is InputKind.IMAGE:
                given[item.name] = str(tmp_path / "picture.png")
            elif item.name in SMALL and item.choices is None:
                given[item.name] = SMALL[item.name]
            elif item.name == "seed":
                given["seed"] = 7
        filled = await fill(backend, prepared.graph, prepared.inputs, given, types)
        report = await run(filled, backend, tmp_path / "out", timeout=60)
    assert ending in {output.path.suffix for output in report.outputs}
    prompt = next(item for item in prepared.inputs if item.name == "prompt")
    assert all((filled[place.node].inputs or {})[place.input] == "a red fox" for place in prompt.targets)
