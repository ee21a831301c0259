"""Storyboards over HTTP and websocket, on the embedded simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyops import storyboard
from comfyops.backends.comfyui import ComfyUI
from comfyops.execution import PanelState, RenderReport, render
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import Faults, SimulatorSettings
from comfyops.storyboard.project import Project
from tests.unit.storyboard.boards import board

EVERYTHING = """
- id: plain
  family: sd15
  size: 256x144
  steps: 2
- id: guided
  family: sd15
  size: 256x144
  steps: 2
  reference: {image: pose.png, denoise: 0.5}
  controlnets:
    - {model: control_v11p_sd15_canny_fp16, image: pose.png}
    - {model: control_v11p_sd15_openpose_fp16, image: pose.png}
- id: xl
  family: sdxl
  size: 256x144
  steps: 2
- id: qwen
  family: qwen_image
  size: 256x144
  steps: 2
""".strip()


async def on_simulator(project: Project, folder: Path, **settings: object) -> RenderReport:
    async with Simulator(SimulatorSettings(port=0, **settings)) as simulator, ComfyUI(simulator.url) as backend:
        return await render(project, backend, folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "pose.png")
    return board(EVERYTHING, folder=tmp_path)


@pytest.mark.parametrize("version", ["0.33.0", "0.8.0"])
async def test_every_family_and_guide_is_rendered(project, tmp_path, version):
    report = await on_simulator(project, tmp_path / "out", version=version)
    assert report.ok and report.backend_version == version
    assert [item.record.family for item in report.panels] == ["sd15", "sd15", "sdxl", "qwen_image"]
    for item in report.panels:
        with Image.open(item.picture) as picture:
            assert picture.size == (256, 144) and "comfyops_simulated" in picture.text
        assert item.record.simulated
    again = await on_simulator(project, tmp_path / "out", version=version)
    assert again.count(PanelState.KEPT) == 4


async def test_the_same_storyboard_gives_the_same_pictures_on_another_server(project, tmp_path):
    first = await on_simulator(project, tmp_path / "a")
    second = await on_simulator(project, tmp_path / "b")
    assert [one.record.seed for one in first.panels] == [one.record.seed for one in second.panels]
    for one, other in zip(first.panels, second.panels, strict=True):
        with Image.open(one.picture) as here, Image.open(other.picture) as there:
            assert here.tobytes() == there.tobytes()


async def test_the_demo_is_rendered_as_shipped(tmp_path):
    report = await on_simulator(storyboard.demo(), tmp_path)
    assert report.ok and report.simulated and len(report.panels) == 4


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(fail_class="KSampler"), "KSampler"),
        (Faults(oom_class="VAEDecode"), "VAEDecode"),
        (Faults(corrupt_output=True), "damaged"),
    ],
)
async def test_a_faulty_server_fails_panels_with_a_reason(project, tmp_path, faults, words):
    report = await on_simulator(project, tmp_path / "out", faults=faults)
    assert report.count(PanelState.FAILED) == 4
    assert all(words in item.error.message for item in report.panels)
    assert not list((tmp_path / "out").rglob("panels/*"))
    healthy = await on_simulator(project, tmp_path / "out")
    assert healthy.ok and healthy.count(PanelState.RENDERED) == 4
