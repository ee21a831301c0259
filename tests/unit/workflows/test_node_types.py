from __future__ import annotations

import json

import pytest

from comfyops.errors import NodeFactsError
from comfyops.workflows import node_types
from comfyops.workflows.dynamic_inputs import expand


def test_the_newest_version_is_the_default() -> None:
    assert node_types.shipped().version == "0.33.0" == node_types.SHIPPED[0]


@pytest.mark.parametrize(("version", "classes", "modern"), [("0.33.0", 887, True), ("0.8.0", 568, False)])
def test_every_shipped_class_parses(version: str, classes: int, modern: bool) -> None:
    types = node_types.shipped(version)
    assert len(types) == classes and types.is_modern is modern
    for name in types:
        assert types[name].name == name
        for item in types[name].inputs:
            assert isinstance(item.kind, str) and (item.choices is None or isinstance(item.choices, tuple))


def test_shipped_facts_hold_no_prose_and_no_model_files() -> None:
    for version in node_types.SHIPPED:
        types = node_types.shipped(version)
        assert not types.files_known
        text = json.dumps(types.object_info())
        assert '"tooltip"' not in text and ".safetensors" not in text.replace("comfyops", "")
        for class_type, inputs in types.folders.items():
            if class_type in types:
                assert all(isinstance(folder, str) for folder in inputs.values())


def test_a_sampler_is_described() -> None:
    sampler = node_types.shipped()["KSampler"]
    steps = sampler.input("steps")
    assert steps is not None and steps.kind == "INT" and steps.default == 20 and steps.options["max"] == 10000
    names = sampler.input("sampler_name")
    assert names is not None and names.choices is not None and "euler" in names.choices and names.is_widget
    assert [output.kind for output in sampler.outputs] == ["LATENT"] and not sampler.is_output


def test_which_folder_a_list_of_files_comes_from_is_known() -> None:
    types = node_types.shipped()
    assert types.folder("UNETLoader", "unet_name") == "diffusion_models"
    assert types.folder("LoadImage", "image") == "input"
    assert types.folder("KSampler", "sampler_name") is None


def test_a_snapshot_can_be_read_again() -> None:
    types = node_types.shipped("0.8.0")
    again = node_types.loads(node_types.dump_snapshot(types))
    assert again.version == "0.8.0" and set(again) == set(types) and again["KSampler"] == types["KSampler"]


@pytest.mark.parametrize("data", [[], {}, "x", {"KSampler": 5}, {"KSampler": {"input": []}}, {"prompt": {}}])
def test_what_are_no_node_facts_is_refused(data: object) -> None:
    with pytest.raises(NodeFactsError):
        node_types.from_object_info(data)


def test_an_unknown_version_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(NodeFactsError, match=r"0\.33\.0, 0\.8\.0"):
        node_types.shipped("1.0")


def test_a_dynamic_combo_brings_the_inputs_of_its_option() -> None:
    save = node_types.shipped()["SaveVideo"]
    names = {item.name for item in expand(save, {"format": "mp4", "format.codec": "h264"})}
    assert {"format", "format.codec"} <= names
    assert "format.codec" not in {item.name for item in expand(save, {"format": "nonsense"})}


def test_a_growing_list_needs_its_first_input_on_modern_servers_only() -> None:
    batch = node_types.shipped()["BatchImagesNode"]
    modern = {item.name: item.required for item in expand(batch, {})}
    assert modern["images.image0"] is True and modern["images.image1"] is False and len(modern) == 50
    assert expand(batch, {}, modern=False) == ()


def test_what_servers_have_in_common_is_in_memory_once() -> None:
    def read(**more: object) -> node_types.NodeTypes:
        text = json.dumps({**node_types.shipped().object_info(), **more})
        return node_types.from_object_info(json.loads(text), version="0.33.0")

    one, other = read(), read(Own=node_types.shipped().object_info()["SaveImage"])
    both = other.sharing(one)
    assert (
        list(both) == list(other) and both.object_info() == other.object_info() and list(one.sharing(both)) == list(one)
    )
    assert all(both.object_info()[name] is one.object_info()[name] for name in one)
    assert one.with_version("0.34.0").sharing(one).version == "0.34.0"
