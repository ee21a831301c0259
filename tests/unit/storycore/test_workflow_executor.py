"""StoryCore's documented names; examples 1 and 7 of its document, with `comfyops.storycore` for `src`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyops.errors import StoryboardError
from comfyops.storycore import (
    ComfyUIConfig,
    ComfyUIWorkflow,
    ControlNetConfig,
    IPAdapterConfig,
    StoryCorePanelConfig,
    WorkflowExecutor,
    WorkflowNode,
)
from comfyops.testing.fakes import FakeBackend
from tests.unit.storyboard.servers import IP_ADAPTER, OPENPOSE, QWEN, server


def classes(workflow: ComfyUIWorkflow) -> list[str]:
    return [node.class_type for node in workflow.nodes.values()]


def only(workflow: ComfyUIWorkflow, class_type: str) -> WorkflowNode:
    (node,) = [node for node in workflow.nodes.values() if node.class_type == class_type]
    return node


@pytest.fixture
def config(tmp_path: Path) -> ComfyUIConfig:
    return ComfyUIConfig(installation_path=tmp_path)


def test_example_1_a_panel_becomes_a_workflow(config):
    from comfyops.storycore.workflow_executor import StoryCorePanelConfig, WorkflowExecutor

    executor = WorkflowExecutor(config)
    panel_config = StoryCorePanelConfig(
        prompt="Un paysage montagneux",
        negative_prompt="Flou, pixelisé",
        width=1024,
        height=1024,
        steps=20,
        cfg_scale=7.0,
    )
    workflow = executor.convert_storycore_panel(panel_config)
    assert list(workflow.nodes) == ["1", "2", "3", "4", "5", "6", "7"]
    assert workflow.nodes["1"].inputs == {"ckpt_name": "sd_xl_base_1.0.safetensors"}
    assert workflow.nodes["2"].inputs == {"text": "Un paysage montagneux", "clip": ["1", 1]}
    sampler = only(workflow, "KSampler").inputs
    assert (sampler["steps"], sampler["cfg"], sampler["sampler_name"], sampler["scheduler"]) == (
        20,
        7.0,
        "euler",
        "normal",
    )
    assert only(workflow, "SaveImage").inputs["filename_prefix"] == "storycore_panel"
    result = executor.validate_workflow(workflow)
    assert result.is_valid and not result.has_errors and workflow.validate() == []
    assert (result.complexity_score, result.estimated_time_seconds) == (8.0, 36.0)


def test_example_7_a_control_image_path_may_be_text(config):
    from comfyops.storycore.comfyui_config import ControlNetConfig
    from comfyops.storycore.workflow_executor import StoryCorePanelConfig, WorkflowExecutor

    executor = WorkflowExecutor(config)
    panel_config = StoryCorePanelConfig(
        prompt="Un portrait réaliste",
        negative_prompt="Déformé, flou",
        width=1024,
        height=1024,
        steps=25,
        cfg_scale=7.0,
        controlnet_config=ControlNetConfig(
            model_name="controlnet_openpose", control_image_path="pose_image.jpg", strength=0.8
        ),
    )
    workflow = executor.convert_storycore_panel(panel_config)
    applied = only(workflow, "ControlNetApplyAdvanced").inputs
    assert applied["strength"] == 0.8 and applied["positive"] == ["2", 0] and applied["negative"] == ["3", 0]
    assert only(workflow, "ControlNetLoader").inputs["control_net_name"] == "controlnet_openpose"
    assert [item.path for item in workflow.uploads] == [Path("pose_image.jpg")]
    assert executor.validate_workflow(workflow).is_valid
    assert "ControlNetApply" not in classes(workflow)


def test_on_a_known_server_names_are_completed_and_the_preprocessor_is_used_where_it_is(config):
    files = {"checkpoints": ["sd_xl_base_1.0.safetensors"], "controlnet": ["xl/controlnet_openpose.safetensors"]}
    panel = StoryCorePanelConfig(
        "x", controlnet_config=ControlNetConfig("controlnet_openpose", 1.0, True, Path("p.png"))
    )
    executor = WorkflowExecutor(config, server(extra=OPENPOSE, **files))
    workflow = executor.convert_storycore_panel(panel)
    assert only(workflow, "ControlNetLoader").inputs["control_net_name"] == "xl/controlnet_openpose.safetensors"
    assert "OpenposePreprocessor" in classes(workflow) and executor.validate_workflow(workflow).is_valid
    assert workflow.metadata.tags == ["sdxl", "controlnet"]
    without = WorkflowExecutor(config, server(**files)).convert_storycore_panel(panel)
    assert "OpenposePreprocessor" not in classes(without) and without.metadata.notes


def test_without_preprocessing_the_picture_is_the_guide(config):
    panel = StoryCorePanelConfig("x", controlnet_config=ControlNetConfig("canny", 1.0, False, "p.png"))
    assert "Canny" not in classes(WorkflowExecutor(config).convert_storycore_panel(panel))


def test_a_controlnet_without_a_picture_is_refused(config):
    panel = StoryCorePanelConfig("x", controlnet_config=ControlNetConfig("canny"))
    with pytest.raises(StoryboardError, match="needs a picture"):
        WorkflowExecutor(config).convert_storycore_panel(panel)


def test_seed_minus_one_is_drawn_and_recorded(config):
    executor = WorkflowExecutor(config)
    first, second = (executor.convert_storycore_panel(StoryCorePanelConfig("x")) for _ in range(2))
    assert first.metadata.seed != second.metadata.seed
    assert only(first, "KSampler").inputs["seed"] == first.metadata.seed
    assert executor.convert_storycore_panel(StoryCorePanelConfig("x", seed=42)).metadata.seed == 42


def test_the_vae_is_honoured(config):
    workflow = WorkflowExecutor(config).convert_storycore_panel(StoryCorePanelConfig("x", vae_name="v.safetensors"))
    assert only(workflow, "VAELoader").inputs["vae_name"] == "v.safetensors"
    (number,) = [key for key, node in workflow.nodes.items() if node.class_type == "VAELoader"]
    assert only(workflow, "VAEDecode").inputs["vae"] == [number, 0]


def test_the_checkpoints_name_decides_the_family(config):
    executor = WorkflowExecutor(config, server(checkpoints=["v1-5-pruned-emaonly.safetensors"], **QWEN))
    sd15 = executor.convert_storycore_panel(
        StoryCorePanelConfig("x", checkpoint_name="v1-5-pruned-emaonly.safetensors")
    )
    qwen = executor.convert_storycore_panel(
        StoryCorePanelConfig("x", checkpoint_name="qwen_image_fp8_e4m3fn.safetensors", cfg_scale=7.0)
    )
    assert sd15.metadata.family == "sd15" and qwen.metadata.family == "qwen_image"
    assert len(qwen.nodes) == 9 and only(qwen, "CLIPLoader").inputs["type"] == "qwen_image"
    with pytest.raises(StoryboardError, match="of no model family"):
        executor.convert_storycore_panel(StoryCorePanelConfig("x", checkpoint_name="flux2_dev_fp8mixed.safetensors"))


def test_an_ip_adapter_uses_current_nodes(config):
    adapter = IPAdapterConfig("ip-adapter_sdxl_vit-h", "look.png", noise=0.3)
    types = server(
        extra=IP_ADAPTER,
        checkpoints=["sd_xl_base_1.0.safetensors"],
        clip_vision=["CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"],
    )
    executor = WorkflowExecutor(config, types)
    workflow = executor.convert_storycore_panel(StoryCorePanelConfig("x", ipadapter_config=adapter))
    assert {"IPAdapterModelLoader", "CLIPVisionLoader", "IPAdapterAdvanced"} < set(classes(workflow))
    assert only(workflow, "IPAdapterAdvanced").inputs["weight"] == 0.7
    result = executor.validate_workflow(workflow)
    assert result.is_valid and any("noise" in warning for warning in result.warnings)


@pytest.mark.parametrize(("width", "height"), [(1000, 1001), (0, 512), (512, 10**6)])
def test_an_impossible_size_is_refused(config, width, height):
    with pytest.raises(StoryboardError, match="cannot be drawn"):
        WorkflowExecutor(config).convert_storycore_panel(StoryCorePanelConfig("x", width=width, height=height))


def test_what_a_server_would_refuse_is_told(config):
    executor = WorkflowExecutor(config)
    workflow = executor.convert_storycore_panel(StoryCorePanelConfig("x", sampler_name="eulr", steps=0))
    result = executor.validate_workflow(workflow)
    assert not result.is_valid and len(result.errors) == 2 and any("eulr" in text for text in result.errors)


def test_nodes_can_be_added(config):
    workflow = WorkflowExecutor(config).convert_storycore_panel(StoryCorePanelConfig("x"))
    added = workflow.add_node("PreviewImage", {"images": ["6", 0]})
    assert added == "8" and workflow.to_comfyui_format()["8"] == {
        "class_type": "PreviewImage",
        "inputs": {"images": ["6", 0]},
    }
    assert workflow.validate() == []
    assert ComfyUIWorkflow().add_node("X", {}) == "1"


async def test_a_workflow_is_run_with_its_picture_uploaded(config, tmp_path):
    picture = tmp_path / "pose.png"
    Image.new("RGB", (32, 32), "teal").save(picture)
    backend = FakeBackend()
    executor = WorkflowExecutor(config)
    for path in (picture, str(picture)):
        panel = StoryCorePanelConfig("x", seed=7, controlnet_config=ControlNetConfig("canny", 0.8, True, path))
        result = await executor.execute_workflow(executor.convert_storycore_panel(panel), tmp_path / "out", backend)
        assert result.success and result.execution_id and result.metadata["seed"] == 7
        assert all(item.is_file() for item in result.output_paths)
    uploaded = [name for folder, name in backend.files if folder == "input"]
    assert len(uploaded) == 1 and backend.submitted[0].of_class("LoadImage")[0].inputs["image"] == uploaded[0]


async def test_a_failure_is_in_the_result(config, tmp_path):
    executor = WorkflowExecutor(config)
    panel = StoryCorePanelConfig("x", controlnet_config=ControlNetConfig("canny", 0.8, True, "gone.png"))
    missing = await executor.execute_workflow(executor.convert_storycore_panel(panel), tmp_path, FakeBackend())
    assert not missing.success and "gone.png" in missing.error_message and missing.metadata["code"] == "file_missing"
    failing = FakeBackend(fail_classes=("KSampler",))
    workflow = executor.convert_storycore_panel(StoryCorePanelConfig("x"))
    failed = await executor.execute_workflow(workflow, tmp_path, failing)
    assert not failed.success and failed.execution_id and "KSampler" in failed.error_message


def test_models_are_those_of_the_server_or_of_the_installation(config, tmp_path):
    types = server(checkpoints=["b.safetensors", "a.safetensors"], vae=["v.pt"])
    models = WorkflowExecutor(config, types).get_available_models()
    assert models == {
        "checkpoints": ["a.safetensors", "b.safetensors"],
        "controlnets": [],
        "ipadapters": [],
        "vaes": ["v.pt"],
    }
    folder = tmp_path / "ComfyUI" / "models" / "checkpoints" / "sub"
    folder.mkdir(parents=True)
    (folder / "x.safetensors").touch()
    (folder / "readme.txt").touch()
    executor = WorkflowExecutor(config)
    assert executor.get_available_models()["checkpoints"] == ["sub/x.safetensors"]
    (folder / "y.ckpt").touch()
    assert executor.get_available_models()["checkpoints"] == ["sub/x.safetensors"]
    executor.refresh_model_cache()
    assert executor.get_available_models()["checkpoints"] == ["sub/x.safetensors", "sub/y.ckpt"]
