from __future__ import annotations

import copy
from typing import Any

import pytest

from comfyops.workflows import api_format, convert, node_types, ui_format
from comfyops.workflows.packs import Pack, pack_of
from comfyops.workflows.readiness import DeviceFacts, Fit, Readiness, readiness
from comfyops.workflows.stated import Stated, StatedModel, stated
from tests.unit.workflows.builders import sd15

SHIPPED = node_types.shipped()
OLDER = node_types.shipped("0.8.0")
GIB = 1024**3
URL = "https://example.org/model.safetensors"


def server(*files: str, without: tuple[str, ...] = ()) -> node_types.NodeTypes:
    """A server with these checkpoints, and without these classes."""
    facts = copy.deepcopy(SHIPPED.object_info())
    facts["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [list(files), {}]
    return node_types.from_object_info({name: item for name, item in facts.items() if name not in without})


def found(data: dict[str, Any], types: node_types.NodeTypes | None = None, **known: Any) -> Readiness:
    return readiness(api_format.parse(data), types or server("model.safetensors"), **known)


def test_a_workflow_with_everything_in_place_is_ready() -> None:
    answer = found(sd15())
    assert answer.ready and not answer.missing_nodes and not answer.problems
    assert [(item.folder, item.name, item.installed) for item in answer.models] == [
        ("checkpoints", "model.safetensors", True)
    ]


def test_a_missing_model_comes_with_folder_source_and_nodes() -> None:
    said = Stated(models=(StatedModel("checkpoints", "model.safetensors", URL),))
    answer = found(sd15(), server("other.safetensors"), stated=said)
    (model,) = answer.missing_models
    assert not answer.ready and answer.problems == ()
    assert (model.folder, model.name, model.nodes, model.url, model.size) == (
        "checkpoints",
        "model.safetensors",
        ("4",),
        URL,
        None,
    )


def test_without_a_source_it_says_none() -> None:
    (model,) = found(sd15(), server("other.safetensors")).missing_models
    assert model.url == ""


def test_offline_it_does_not_know_which_models_are_there() -> None:
    answer = found(sd15(), SHIPPED)
    assert [item.installed for item in answer.models] == [None] and answer.ready


def test_missing_classes_do_not_hide_what_else_is_wrong() -> None:
    data = sd15(n3_steps=0)
    data["20"] = {"class_type": "VHS_VideoCombine", "inputs": {"images": ["8", 0], "frame_rate": 8}}
    data["21"] = {"class_type": "ImageSharpen", "inputs": {"image": ["20", 3], "sharpen_radius": 99}}
    data["9"]["inputs"]["images"] = ["21", 0]
    answer = found(data)
    assert [(item.class_type, item.nodes, item.brought_by) for item in answer.missing_nodes] == [
        ("VHS_VideoCombine", ("20",), "ComfyUI-VideoHelperSuite")
    ]
    errors = {(item.node, item.input) for item in answer.problems if item.severity == "error"}
    assert {("3", "steps"), ("21", "sharpen_radius")} <= errors


def test_a_core_class_names_the_version_that_has_it() -> None:
    (missing,) = found(sd15(), server("model.safetensors", without=("VAEDecode",))).missing_nodes
    assert missing.brought_by == "ComfyUI >= 0.8.0"
    newer = next(name for name in SHIPPED if name not in OLDER)
    left_out = next(name for name in OLDER if name not in SHIPPED)
    data = {**sd15(), "30": {"class_type": newer, "inputs": {}}, "31": {"class_type": left_out, "inputs": {}}}
    older = found({key: node for key, node in data.items() if key != "31"}, OLDER).missing_nodes
    assert [item.brought_by for item in older] == ["ComfyUI >= 0.33.0"]
    newest = found({key: node for key, node in data.items() if key != "30"}).missing_nodes
    assert [item.brought_by for item in newest] == ["ComfyUI 0.8.0, left out of 0.33.0"]


def test_a_class_that_was_replaced_is_told_to_be() -> None:
    data = sd15()
    data["20"] = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "a.safetensors"}}
    assert "ControlNetLoader" in found(data).missing_nodes[0].brought_by
    data["20"]["_meta"] = {}
    assert found(data).missing_nodes == ()


@pytest.mark.parametrize(
    ("class_type", "name"),
    [
        ("IPAdapterAdvanced", "ComfyUI_IPAdapter_plus"),
        ("DWPreprocessor", "comfyui_controlnet_aux"),
        ("VHS_LoadVideo", "ComfyUI-VideoHelperSuite"),
        ("ImageResizeKJv2", "ComfyUI-KJNodes"),
        ("FaceDetailer", "ComfyUI-Impact-Pack"),
        ("Power Lora Loader (rgthree)", "rgthree-comfy"),
        ("UnetLoaderGGUF", "ComfyUI-GGUF"),
        ("WanVideoSampler", "ComfyUI-WanVideoWrapper"),
    ],
)
def test_popular_packs_are_known_by_their_classes(class_type: str, name: str) -> None:
    pack = pack_of(class_type)
    assert pack is not None and pack.name == name and pack.url.startswith("https://github.com/")


def test_no_class_of_comfyui_is_said_to_come_from_a_pack_where_it_is_missing() -> None:
    answer = found({key: {"class_type": key, "inputs": {}} for key in SHIPPED}, server(without=tuple(SHIPPED)[5:]))
    assert all(item.brought_by.startswith("ComfyUI") and not item.url for item in answer.missing_nodes)
    assert len(answer.missing_nodes) == len(SHIPPED) - 5


def test_what_nobody_knows_is_said_to_be_unknown() -> None:
    data = sd15()
    data["8"]["class_type"] = "VAEDecodr"
    (missing,) = found(data).missing_nodes
    assert missing.brought_by == "" and missing.suggestions[0] == "VAEDecode"


@pytest.mark.parametrize(
    ("sizes", "free", "fit"),
    [
        ({("checkpoints", "model.safetensors"): 4 * GIB}, 8, Fit.FITS),
        ({("checkpoints", "model.safetensors"): 4 * GIB}, 2, Fit.AFTER_UNLOADING),
        ({("checkpoints", "model.safetensors"): 40 * GIB}, 8, Fit.TOO_LARGE),
        ({("checkpoints", "model.safetensors"): 0}, 8, Fit.UNKNOWN),
        ({}, 8, Fit.UNKNOWN),
    ],
)
def test_memory_is_told_where_all_sizes_are_known(sizes: dict[tuple[str, str], int], free: int, fit: Fit) -> None:
    vram = found(sd15(), sizes=sizes, device=DeviceFacts("GPU", 16 * GIB, free * GIB)).vram
    assert vram.fit is fit and vram.known_bytes == sum(sizes.values())
    assert (vram.unknown == ("model.safetensors",)) == (fit is Fit.UNKNOWN)


@pytest.mark.parametrize(
    ("name", "wrong"), [("there.png", False), ("gone.png", True), ("sub/any.png", False), ("gone.png [output]", False)]
)
def test_a_picture_that_was_not_uploaded_is_a_wrong_input(name: str, wrong: bool) -> None:
    facts = copy.deepcopy(SHIPPED.object_info())
    facts["LoadImage"]["input"]["required"]["image"][0] = ["there.png"]
    data = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    answer = found(data, node_types.from_object_info(facts))
    assert [(item.node, item.input) for item in answer.problems] == ([("1", "image")] if wrong else [])
    assert answer.ready is not wrong and found(data, SHIPPED).ready


def test_without_a_device_the_fit_is_unknown() -> None:
    assert found(sd15(), sizes={("checkpoints", "model.safetensors"): 1}).vram.fit is Fit.UNKNOWN


def ui(**properties: Any) -> dict[str, Any]:
    node = {"id": 1, "type": "My Loader", "widgets_values": ["model.safetensors"], "properties": properties}
    return {"nodes": [node], "links": [], "version": 0.4}


def test_a_workflow_in_ui_format_names_packs_and_models() -> None:
    inner = ui(cnr_id="comfyui-kjnodes", ver="1.0", models=[{"name": "b.safetensors", "directory": "vae", "url": URL}])
    inner["nodes"][0]["type"] = "Inner"
    data = ui(aux_id="kijai/ComfyUI-KJNodes", models=[{"name": "model.safetensors", "directory": "loras", "url": URL}])
    data["definitions"] = {"subgraphs": [{"id": "s", "name": "S", **inner}]}
    said = stated(ui_format.parse(data))
    assert said.packs["My Loader"] == Pack("ComfyUI-KJNodes", "https://github.com/kijai/ComfyUI-KJNodes")
    assert said.packs["Inner"] == Pack("comfyui-kjnodes", "")
    assert said.models == (StatedModel("loras", "model.safetensors", URL), StatedModel("vae", "b.safetensors", URL))


@pytest.mark.parametrize(
    "properties",
    [
        {"cnr_id": 7, "aux_id": ["x"], "models": {"name": "x"}},
        {"aux_id": "javascript:alert(1)", "models": [7, {"name": 3}, {"name": ""}, {"url": URL}]},
        {"models": [{"name": "a", "directory": 5, "url": "file:///etc/passwd"}]},
    ],
)
def test_odd_statements_are_left_out(properties: dict[str, Any]) -> None:
    said = stated(ui_format.parse(ui(**properties)))
    assert said.packs == {} and all(not model.url and not model.folder for model in said.models)


def test_the_pack_that_the_workflow_names_counts_more_and_its_models_too() -> None:
    data = ui(cnr_id="my-pack", models=[{"name": "model.safetensors", "directory": "loras", "url": URL}])
    data["nodes"][0]["widgets_values"] = {"lora": "model.safetensors"}
    types = server("x")
    answer = readiness(convert.to_api(data, types).graph, types, stated=stated(ui_format.parse(data)))
    assert [item.brought_by for item in answer.missing_nodes] == ["my-pack"]
    assert [(item.folder, item.name, item.installed, item.url) for item in answer.models] == [
        ("loras", "model.safetensors", None, URL)
    ]
