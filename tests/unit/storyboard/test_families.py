"""The graphs of every family are what a server takes, and name files that it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyops import storyboard
from comfyops.errors import StoryboardError
from comfyops.storyboard import families, planning
from comfyops.storyboard.families import FAMILIES
from comfyops.workflows.graph import Graph, Link
from comfyops.workflows.node_types import SHIPPED, NodeTypes, shipped
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import validate
from tests.unit.storyboard.boards import board
from tests.unit.storyboard.servers import IP_ADAPTER, OPENPOSE, QWEN, server

SDXL = {"checkpoints": ["sd_xl_base_1.0.safetensors"]}
SD15 = {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "pose.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    return path


def planned(panel: str, types: NodeTypes, extra: str = "", folder: Path = Path()) -> storyboard.PanelPlan:
    return storyboard.plan(board(panel, extra=extra, folder=folder), types)[0]


def classes(graph: Graph) -> list[str]:
    return [node.class_type or "" for node in graph]


def problems(made: storyboard.PanelPlan, types: NodeTypes) -> list[str]:
    graph = planning.with_uploads(made.graph, {item.node: "example.png" for item in made.uploads})
    return [item.message for item in validate(graph, types) if item.severity is not Severity.WARNING]


@pytest.mark.parametrize("version", SHIPPED)
@pytest.mark.parametrize(("family", "files"), [("sd15", SD15), ("sdxl", SDXL), ("qwen_image", QWEN)])
def test_every_familys_graph_is_valid_on_every_server(family, files, version):
    types = server(version, **files)
    made = planned("- prompt: a fox", types)
    assert made.family.name == family
    assert problems(made, types) == []
    assert validate(made.graph, types) == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_graph_is_valid_offline(family):
    made = planned(f"- family: {family}", shipped())
    assert problems(made, shipped()) == []


def test_a_plain_checkpoint_panel_has_seven_nodes():
    made = planned("- {prompt: a fox, negative: blur, seed: 5, steps: 9, cfg: 4, size: 640x384}", server(**SDXL))
    assert classes(made.graph) == [
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "SaveImage",
    ]
    sampler = made.graph.of_class("KSampler")[0].inputs
    assert (sampler["seed"], sampler["steps"], sampler["cfg"], sampler["denoise"]) == (5, 9, 4, 1.0)
    assert made.graph["2"].inputs["text"] == "a fox" and made.graph["3"].inputs["text"] == "blur"
    assert made.graph["4"].inputs == {"width": 640, "height": 384, "batch_size": 1}
    assert made.graph[made.save_node].inputs["filename_prefix"] == "comfyops/fox/s01-sh01-p01"


def test_qwen_image_is_the_nine_node_workflow_with_its_own_encoder_type():
    made = planned("- prompt: a fox", server(**QWEN))
    assert set(classes(made.graph)) == {
        *("UNETLoader", "CLIPLoader", "VAELoader", "EmptySD3LatentImage"),
        *("CLIPTextEncode", "KSampler", "VAEDecode", "SaveImage"),
    }
    assert len(made.graph) == 9 and len(made.graph.of_class("CLIPTextEncode")) == 2
    assert made.graph.of_class("CLIPLoader")[0].inputs["type"] == "qwen_image"
    assert made.models == (
        "qwen_image_fp8_e4m3fn.safetensors",
        "qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "qwen_image_vae.safetensors",
    )


def test_a_vae_of_its_own_decodes_and_is_named():
    types = server(vae=["sdxl_vae.safetensors", "other.pt"], **SDXL)
    made = planned("- vae: sdxl_vae", types)
    loader = made.graph.of_class("VAELoader")[0]
    assert loader.inputs["vae_name"] == "sdxl_vae.safetensors"
    assert made.graph.of_class("VAEDecode")[0].inputs["vae"] == Link(loader.id, 0)
    assert problems(made, types) == []


def test_loras_are_chained_in_order_through_model_and_clip():
    types = server(loras=["styles/ink.safetensors", "glow.safetensors"], **SDXL)
    made = planned("- loras: [{name: ink, strength: 0.5, clip_strength: 0.2}, {name: glow}]\n  clip_skip: 2", types)
    first, second = made.graph.of_class("LoraLoader")
    assert first.inputs["lora_name"] == "styles/ink.safetensors"
    assert (first.inputs["strength_model"], first.inputs["strength_clip"]) == (0.5, 0.2)
    assert second.inputs["model"] == Link(first.id, 0) and second.inputs["clip"] == Link(first.id, 1)
    assert made.graph.of_class("CLIPSetLastLayer")[0].inputs["stop_at_clip_layer"] == -2
    assert made.graph.of_class("KSampler")[0].inputs["model"] == Link(second.id, 0)
    assert problems(made, types) == []


def test_a_reference_picture_is_scaled_and_partly_drawn_anew(picture):
    types = server(**SDXL)
    made = planned(f"- reference: {{image: {picture.name}, denoise: 0.4}}", types, folder=picture.parent)
    assert made.graph.of_class("KSampler")[0].inputs["denoise"] == 0.4
    assert made.graph.of_class("ImageScale")[0].inputs["width"] == made.picture.size.width
    assert not made.graph.of_class("EmptyLatentImage")
    assert [item.path for item in made.uploads] == [picture]
    assert made.graph[made.uploads[0].node].class_type == "LoadImage"
    assert problems(made, types) == []


def test_controlnets_are_applied_one_after_the_other_to_both_prompts(picture):
    files = ["control_v11p_sd15_openpose.pth", "control_v11p_sd15_canny.pth"]
    types = server(extra=OPENPOSE, controlnet=files, **SD15)
    made = planned(
        f"""
- controlnets:
    - {{model: control_v11p_sd15_openpose, image: {picture.name}, strength: 0.8}}
    - {{model: canny, image: {picture.name}, end: 0.5}}
""".strip(),
        types,
        folder=picture.parent,
    )
    first, second = made.graph.of_class("ControlNetApplyAdvanced")
    assert second.inputs["positive"] == Link(first.id, 0) and second.inputs["negative"] == Link(first.id, 1)
    assert (first.inputs["strength"], second.inputs["end_percent"]) == (0.8, 0.5)
    openpose = made.graph.of_class("OpenposePreprocessor")[0]
    assert first.inputs["image"] == Link(openpose.id, 0)
    assert openpose.inputs["resolution"] == min(made.picture.size) and openpose.inputs["detect_hand"] == "enable"
    assert second.inputs["image"] == Link(made.graph.of_class("Canny")[0].id, 0)
    assert not made.graph.of_class("ControlNetApply")
    assert not made.notes and problems(made, types) == []


def test_a_preprocessor_that_is_not_installed_is_left_out_with_a_note(picture):
    types = server(controlnet=["openpose.pth"], **SD15)
    made = planned(f"- controlnets: [{{model: openpose, image: {picture.name}}}]", types, folder=picture.parent)
    applied = made.graph.of_class("ControlNetApplyAdvanced")[0]
    assert applied.inputs["image"] == Link(made.uploads[0].node, 0)
    assert "no DWPreprocessor node" in made.notes[0]


def test_a_finished_guide_is_not_preprocessed(picture):
    types = server(controlnet=["canny.pth"], **SD15)
    line = f"- controlnets: [{{model: canny, image: {picture.name}, preprocessor: none}}]"
    made = planned(line, types, folder=picture.parent)
    assert not made.graph.of_class("Canny") and not made.notes


def test_ip_adapter_uses_the_installed_nodes(picture):
    types = server(extra=IP_ADAPTER, clip_vision=["CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"], **SDXL)
    made = planned(f"- ip_adapter: {{image: {picture.name}, weight: 0.6}}", types, folder=picture.parent)
    applied = made.graph.of_class("IPAdapterAdvanced")[0]
    assert applied.inputs["weight"] == 0.6
    assert made.graph.of_class("KSampler")[0].inputs["model"] == Link(applied.id, 0)
    assert made.graph.of_class("IPAdapterUnifiedLoader") and problems(made, types) == []
    line = f"- ip_adapter: {{image: {picture.name}, model: ip-adapter_sdxl_vit-h}}"
    by_file = planned(line, types, folder=picture.parent)
    assert by_file.graph.of_class("CLIPVisionLoader") and problems(by_file, types) == []


def test_ip_adapter_without_its_nodes_is_refused(picture):
    with pytest.raises(StoryboardError, match="no IP-Adapter nodes") as caught:
        planned(f"- ip_adapter: {{image: {picture.name}}}", server(**SDXL), folder=picture.parent)
    assert "ComfyUI_IPAdapter_plus" in caught.value.hint


def test_a_characters_picture_is_used_where_the_nodes_are_and_noted_where_not(picture):
    cast = f"characters: {{mara: {{prompt: red scarf, image: {picture.name}}}}}"
    with_nodes = planned("- characters: [mara]", server(extra=IP_ADAPTER, **SDXL), cast, picture.parent)
    assert with_nodes.uploads and not with_nodes.notes
    without = planned("- characters: [mara]", server(**SDXL), cast, picture.parent)
    assert not without.uploads and "pose.png is not used" in without.notes[0]


def test_a_picture_that_is_not_there_is_told():
    with pytest.raises(StoryboardError, match=r"Panel s01-sh01-p01: .*gone\.png is not there"):
        planned("- reference: {image: gone.png}", server(**SDXL))


@pytest.mark.parametrize(
    ("files", "family"),
    [
        (SDXL, "sdxl"),
        (SD15, "sd15"),
        (QWEN, "qwen_image"),
        ({"checkpoints": [*SD15["checkpoints"], *SDXL["checkpoints"]]}, "sdxl"),
        ({"checkpoints": ["juggernautXL_v9.safetensors", "sd_xl_refiner_1.0.safetensors"]}, "sdxl"),
        ({"checkpoints": ["flux1-dev-fp8.safetensors", "my_merge.ckpt"]}, "sd15"),
        ({"checkpoints": SD15["checkpoints"], **QWEN}, "qwen_image"),
    ],
)
def test_auto_takes_a_family_that_the_server_has_the_files_of(files, family):
    assert planned("- prompt: x", server(**files)).family.name == family


@pytest.mark.parametrize(
    "files", [{}, {"checkpoints": ["flux1-dev-fp8.safetensors"]}, {"diffusion_models": QWEN["diffusion_models"]}]
)
def test_a_server_without_files_is_told_which_would_do(files):
    with pytest.raises(StoryboardError, match="the files of no model family") as caught:
        planned("- prompt: x", server(**files))
    assert "checkpoints/sd_xl_base_1.0.safetensors" in caught.value.hint
    assert "vae/qwen_image_vae.safetensors" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("sub/B.safetensors", "sub/B.safetensors"),
        ("B", "sub/B.safetensors"),
        ("b.ckpt", "sub/B.safetensors"),
        ("sub\\b.safetensors", "sub/B.safetensors"),
        ("dreamshaper", "dreamshaper_8_pruned.safetensors"),
    ],
)
def test_a_model_is_found_by_the_name_people_use(wanted, found):
    types = server(checkpoints=["sub/B.safetensors", "dreamshaper_8_pruned.safetensors"])
    assert planned(f"- {{family: sd15, model: '{wanted}'}}", types).models == (found,)


def test_an_absent_model_is_told_with_the_nearest_files():
    types = server(checkpoints=["dreamshaper_8.safetensors", "dreamshaper_7.safetensors", "zzz.ckpt"])
    with pytest.raises(StoryboardError, match="no checkpoint named 'dreamshaper_9'") as caught:
        planned("- {family: sd15, model: dreamshaper_9}", types)
    assert set(caught.value.facts["nearest"]) == {"dreamshaper_8.safetensors", "dreamshaper_7.safetensors"}
    with pytest.raises(StoryboardError, match="more than one fits"):
        planned("- {family: sd15, model: dreamshaper}", types)


def test_a_kind_of_model_that_the_server_has_none_of_is_told(picture):
    with pytest.raises(StoryboardError, match="no LoRA at all") as caught:
        planned("- loras: [{name: ink}]", server(**SDXL))
    assert "models/loras" in caught.value.hint


def test_a_named_model_decides_the_family():
    types = server(checkpoints=[*SD15["checkpoints"], *SDXL["checkpoints"]], **QWEN)
    assert planned("- model: v1-5-pruned-emaonly-fp16", types).family.name == "sd15"
    assert planned("- model: qwen_image_edit_2509_fp8_e4m3fn.safetensors", types).family.name == "qwen_image"
    with pytest.raises(StoryboardError, match="of no model family"):
        planned("- model: flux1-dev.safetensors", types)


def test_an_unknown_family_is_told_with_the_nearest():
    with pytest.raises(StoryboardError, match="no model family 'sdx1'") as caught:
        planned("- family: sdx1", server(**SDXL))
    assert caught.value.hint == "Did you mean sdxl?"
    assert families.named("sd15").name == "sd15"
