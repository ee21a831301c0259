"""The 11 examples of StoryCore's document on advanced workflows, run as they stand there, on a simulated server.

Three things are changed: `src.` is `comfyops.storycore.`; what a block uses without saying where it comes from
(`config`, `frames`, the workflow classes, `requests`) is put into its names; and the loop of case 1 counts its frames,
which the document forgets (`i` is not defined there).
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.storycore import ComfyUIConfig, HunyuanVideoWorkflow, WanVideoWorkflow
from comfyops.storycore.advanced_workflow_base import WorkflowRequest
from comfyops.storycore.advanced_workflow_manager import AdvancedWorkflowManager
from comfyops.storycore.comfyui_workflow import ComfyUIWorkflow
from tests.unit.doc_pages import blocks

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"```(\w+)\n(.*?)```", (ROOT / "tests" / "data" / "storycore-examples.fr.md").read_text(encoding="utf-8"), re.DOTALL
)

Names = dict[str, Any]


def block(number: int) -> str:
    """A Python block of the document, numbered from 1, with its imports from ours."""
    language, code = BLOCKS[number - 1]
    assert language == "python"
    return re.sub(r"\bfrom src\.", "from comfyops.storycore.", code)


async def run(names: Names, code: str) -> Names:
    """Execute a block that may await at its top level; the names it leaves are in `names`."""
    compiled = compile(code, "document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(compiled, names)
    if inspect.iscoroutine(outcome):
        await outcome
    return names


@pytest.fixture(autouse=True)
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """A server that the environment names, and an empty folder to work in."""
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        monkeypatch.setenv("COMFYUI_URL", simulator.url)
        monkeypatch.setenv("COMFYOPS_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield simulator


def test_the_document_holds_sixteen_blocks_and_they_are_all_run_here() -> None:
    assert [language for language, _ in BLOCKS] == [*["python"] * 3, "bash", *["python"] * 12]
    used = {int(number) for number in re.findall(r"block\((\d+)\)", Path(__file__).read_text(encoding="utf-8"))}
    assert used == set(range(1, 17)) - {4}


async def test_example_1_a_panel_becomes_a_workflow(tmp_path: Path) -> None:
    names = await run({"config": ComfyUIConfig(tmp_path)}, block(1))
    workflow = names["workflow"]
    assert isinstance(workflow, ComfyUIWorkflow) and workflow.validate() == []
    texts = [node.inputs["text"] for node in workflow.nodes.values() if node.class_type == "CLIPTextEncode"]
    assert texts == ["Un paysage montagneux", "Flou, pixelisé"]
    assert (await names["executor"].execute_workflow(workflow, tmp_path / "out")).success is False  # no server there


async def test_example_2_a_workflow_is_registered() -> None:
    names = await run({"HunyuanVideoWorkflow": HunyuanVideoWorkflow}, block(2))
    assert names["registry"].list_available_workflows()["video"] == ["hunyuan_t2v"]
    assert names["registry"].get_workflows_by_capability("SUPER_RESOLUTION") == ["video/hunyuan_t2v"]


async def test_example_3_a_request_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    names = await run({}, block(3))
    assert_made_by_the_simulator(names["result"], frames=81)
    assert names["manager"].get_performance_analytics()["success_rate"] == 1.0


def test_example_4_the_requirements_can_be_installed() -> None:
    pytest.importorskip("hatchling", reason="pip needs it to read this project without a network")
    language, command = BLOCKS[3]
    assert (language, command.split()) == ("bash", ["pip", "install", "-r", "requirements.txt"])
    arguments = [*command.split()[1:], "--dry-run", "--no-deps", "--quiet", "--disable-pip-version-check"]
    offline = ("--no-index", "--no-build-isolation")
    pip = [sys.executable, "-m", "pip", *arguments, *offline]
    done = subprocess.run(pip, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_example_5_the_three_steps_of_integration() -> None:
    names = await run({}, block(5))
    await run(names, block(6))
    assert_made_by_the_simulator(names["result"], frames=81)


async def test_example_6_a_video_from_text(capsys: pytest.CaptureFixture[str]) -> None:
    names = await run({}, block(7))
    result = names["result"]
    assert_made_by_the_simulator(result, frames=81)
    assert result.frames[0].size == (1024, 1024)
    assert capsys.readouterr().out == "Vidéo générée avec succès : True\n"


async def test_example_7_a_panel_with_a_controlnet(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "navy").save("pose_image.jpg")
    names = await run({"config": ComfyUIConfig(tmp_path)}, block(8))
    classes = [node.class_type for node in names["workflow"].nodes.values()]
    assert "ControlNetApplyAdvanced" in classes and names["workflow"].validate() == []
    assert [item.path for item in names["workflow"].uploads] == [Path("pose_image.jpg")]


async def test_example_8_a_video_is_changed_inside_a_mask() -> None:
    mask = Image.new("L", (96, 64), 0)
    mask.paste(255, (0, 0, 48, 64))
    mask.save("mask.png")
    frames = [Image.new("RGB", (96, 64), (200, 20 * number, 40)) for number in range(6)]
    names = await run({"frames": frames}, block(9))
    result = names["result"]
    assert len(result) == 6 and {frame.size for frame in result} == {(96, 64)}
    assert names["integration"].last_result.metadata["recipe"] == "wan22-vace-inpainting"
    assert {frame.info["engine"] for frame in result} == {"simulator"}
    for made, given in zip(result, frames, strict=True):
        difference = ImageChops.difference(made, given)
        assert max(high for _, high in difference.crop((72, 0, 96, 64)).getextrema()) < 24  # right of the mask
        assert max(high for _, high in difference.crop((0, 0, 40, 64)).getextrema()) > 24  # inside it


async def test_example_9_a_video_with_an_alpha_channel() -> None:
    names = await run({}, block(10))
    rgb, alpha = names["rgb_frames"], names["alpha_masks"]
    assert len(rgb) == len(alpha) == 30
    assert {(frame.mode, frame.size) for frame in rgb} == {("RGB", (720, 480))}
    assert {(mask.mode, mask.size) for mask in alpha} == {("L", (720, 480))}
    assert {value for _, value in alpha[0].getcolors()} <= {0, 255}


async def test_example_10_case_1_the_frames_of_a_result_are_saved() -> None:
    folder = Path("src/workflows")
    folder.mkdir(parents=True)
    (folder / "broken_workflow.py").write_text("raise RuntimeError('not ready')")
    names: Names = {"AdvancedWorkflowManager": AdvancedWorkflowManager, "WorkflowRequest": WorkflowRequest}
    await run(names, block(11))
    await run(names, block(12))
    assert_made_by_the_simulator(names["result"], frames=121)
    assert names["result"].metadata["recipe"] == "hunyuan15-text-to-video-upscaled"
    loop = "for frame in result.frames:"
    assert loop in block(13)
    await run(names, block(13).replace(loop, "for i, frame in enumerate(result.frames):"))
    saved = sorted(Path().glob("output_frame_*.png"))
    assert len(saved) == 121
    with Image.open(saved[0]) as picture:
        assert picture.size == (1024, 1024)


async def test_example_10_case_1_tells_why_there_is_no_result(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:9")
    names: Names = {"AdvancedWorkflowManager": AdvancedWorkflowManager, "WorkflowRequest": WorkflowRequest}
    await run(names, block(11))
    await run(names, block(12))
    await run(names, block(13))
    assert capsys.readouterr().out.startswith("Erreur : No workflow serves TEXT_TO_VIDEO, SUPER_RESOLUTION here")


async def test_example_11_case_2_requests_in_parallel_and_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry

    names: Names = {
        "AdvancedWorkflowRegistry": AdvancedWorkflowRegistry,
        "HunyuanVideoWorkflow": HunyuanVideoWorkflow,
        "WanVideoWorkflow": WanVideoWorkflow,
    }
    await run(names, block(14))
    names["manager"] = AdvancedWorkflowManager(registry=names["registry"])
    await names["manager"].initialize()
    names["requests"] = [wanted(seed) for seed in range(4)]
    await run(names, block(15))
    assert [item.success for item in names["results"]] == [True] * 4
    assert len({item.metadata["execution_id"] for item in names["results"]}) == 4
    await run(names, block(16))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Taux de réussite : 100.00%"
    assert re.fullmatch(r"Temps moyen d'exécution : \d+\.\d\ds", lines[1])


async def test_example_11_the_figures_are_there_before_the_first_run(capsys: pytest.CaptureFixture[str]) -> None:
    await run({"manager": AdvancedWorkflowManager()}, block(16))
    assert capsys.readouterr().out == "Taux de réussite : 0.00%\nTemps moyen d'exécution : 0.00s\n"


def wanted(seed: int) -> WorkflowRequest:
    small = {"prompt": "Un paysage", "width": 96, "height": 64, "num_frames": 5, "seed": seed}
    return WorkflowRequest(workflow_type="video", capabilities=["TEXT_TO_VIDEO"], parameters=small)


def assert_made_by_the_simulator(result: Any, frames: int) -> None:
    assert result.success, result.error_message
    assert (result.metadata["engine"], result.metadata["simulated"]) == ("simulator", True)
    assert len(result.frames) == frames and Path(result.output_path).is_file()


async def test_our_own_page_on_these_names_has_working_examples() -> None:
    pieces = [item.text for item in blocks(ROOT / "docs" / "storycore.md") if item.kind == "python"]
    assert [await printed(piece) for piece in pieces] == [
        "simulator wan22-text-to-video 6\n100%\n",
        "sketch image/sketch\n",
        "5 wan22-vace-inpainting\n6 6\n",
    ]


async def printed(code: str) -> str:
    """What a program prints."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(program.communicate(), 100)
    assert program.returncode == 0, errors.decode()
    return out.decode()
