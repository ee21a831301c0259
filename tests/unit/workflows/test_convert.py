"""From the editor's format to the server's: values, links, nodes that only the editor knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from comfyops.errors import WorkflowFormatError
from comfyops.workflows import api_format, convert, node_types
from comfyops.workflows.node_types import NodeTypes
from tests.unit.workflows.ui_builder import node, picture_chain, slot, workflow


@pytest.fixture(scope="module")
def types() -> NodeTypes:
    return node_types.shipped("0.33.0")


def made(data: dict[str, Any], types: NodeTypes, **options: Any) -> dict[str, Any]:
    """The graph in API format, without titles."""
    graph = api_format.dump(convert.to_api(data, types, **options).graph)
    return {key: {"class_type": item["class_type"], "inputs": item["inputs"]} for key, item in graph.items()}


def codes(data: dict[str, Any], types: NodeTypes) -> list[str]:
    return [problem.code for problem in convert.to_api(data, types).warnings]


def test_values_and_links_become_inputs(types: NodeTypes) -> None:
    assert made(picture_chain(), types) == {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["2", 0]}},
    }


def test_a_bypassed_node_hands_on_what_it_takes(types: NodeTypes) -> None:
    graph = made(picture_chain(mode=4), types)
    assert "2" not in graph
    assert graph["3"]["inputs"]["images"] == ["1", 0]


def test_a_muted_node_gives_nothing(types: NodeTypes) -> None:
    graph = made(picture_chain(mode=2), types)
    assert "2" not in graph
    assert "images" not in graph["3"]["inputs"]


@pytest.mark.parametrize("kind", ["Reroute", "SetNode"])
def test_a_reroute_is_not_sent(types: NodeTypes, kind: str) -> None:
    graph = made(picture_chain(type=kind, inputs=[slot("", "*", 1)]), types)
    assert graph["3"]["inputs"]["images"] == ["1", 0]


def test_a_get_node_gives_what_its_set_node_takes(types: NodeTypes) -> None:
    data = picture_chain(type="GetNode", inputs=[], widgets_values=["a"])
    data["nodes"].append(node(4, "SetNode", ["a"], inputs=[("IMAGE", "IMAGE", 9)]))
    data["links"] = [[2, 2, 0, 3, 0, "IMAGE"], [9, 1, 0, 4, 0, "IMAGE"]]
    assert made(data, types)["3"]["inputs"]["images"] == ["1", 0]


def test_a_get_node_without_a_set_node_is_told(types: NodeTypes) -> None:
    data = picture_chain(type="GetNode", inputs=[], widgets_values=["a"])
    assert codes(data, types) == ["no_setter"]


def test_a_primitive_puts_its_value_into_the_field(types: NodeTypes) -> None:
    data = picture_chain()
    data["nodes"][0]["inputs"] = [slot("width", "INT", 7, widget=True)]
    data["nodes"].append(node(9, "PrimitiveNode", [48, "fixed"], outputs=[("INT", "INT")]))
    data["links"].append([7, 9, 0, 1, 0, "INT"])
    assert made(data, types)["1"]["inputs"]["width"] == 48
    data["nodes"][3]["widgets_values"] = [99999999, "fixed"]
    assert made(data, types)["1"]["inputs"]["width"] == types["EmptyImage"].input("width").options["max"]  # type: ignore[union-attr]


def test_notes_are_left_out(types: NodeTypes) -> None:
    data = picture_chain()
    data["nodes"] += [node(7, "Note", ["read me"]), node(8, "MarkdownNote", ["#"]), node(9, "Label (rgthree)")]
    assert set(made(data, types)) == {"1", "2", "3"}
    assert codes(data, types) == []


def test_the_seeds_control_takes_a_place_but_is_not_sent(types: NodeTypes) -> None:
    values = [5, "randomize", 20, 8, "euler", "normal", 1]
    inputs = made(workflow([node(1, "KSampler", values)]), types)["1"]["inputs"]
    assert inputs["seed"] == 5 and inputs["steps"] == 20 and inputs["denoise"] == 1
    assert "control_after_generate" not in inputs


def test_the_choice_of_a_dynamic_combo_decides_what_follows(types: NodeTypes) -> None:
    values = ["scale by multiplier", 2.5, "area"]
    inputs = made(workflow([node(1, "ResizeImageMaskNode", values)]), types)["1"]["inputs"]
    assert inputs["resize_type"] == "scale by multiplier"
    assert inputs["resize_type.multiplier"] == 2.5
    assert inputs["scale_method"] == "area"


def test_growing_inputs_keep_their_links(types: NodeTypes) -> None:
    data = picture_chain()
    slots = [(f"images.image{at}", "IMAGE", 3 if at == 6 else None) for at in range(7)]
    data["nodes"].append(node(4, "BatchImagesNode", inputs=slots))
    data["links"].append([3, 1, 0, 4, 6, "IMAGE"])
    assert made(data, types)["4"]["inputs"] == {"images.image6": ["1", 0]}


def test_lists_are_wrapped_so_that_they_are_no_links(types: NodeTypes) -> None:
    data = workflow([node(1, "CLIPTextEncode", [["1", 0]])])
    assert made(data, types)["1"]["inputs"]["text"] == {"__value__": ["1", 0]}


def test_values_saved_by_name_are_read(types: NodeTypes) -> None:
    data = workflow([node(1, "EmptyImage", {"width": 16, "color": 3, "extra": "x"})])
    assert made(data, types)["1"]["inputs"] == {"width": 16, "height": 512, "batch_size": 1, "color": 3}


def test_missing_values_are_the_defaults(types: NodeTypes) -> None:
    inputs = made(workflow([node(1, "KSampler", [5])]), types)["1"]["inputs"]
    assert inputs["cfg"] == 8.0 and inputs["sampler_name"] == "euler"


def test_a_dynamic_prompt_loses_comments_and_takes_the_first_choice(types: NodeTypes) -> None:
    text = "a {red|blue {big|small}|green} house // no\nby \\{the\\} sea /* x */"
    inputs = made(workflow([node(1, "CLIPTextEncode", [text])]), types)["1"]["inputs"]
    assert inputs["text"] == "a red house \nby {the} sea "


def test_names_of_files_take_values_of_other_nodes_and_the_date(types: NodeTypes) -> None:
    data = picture_chain()
    data["nodes"][0]["title"] = "Blank"
    data["nodes"][2]["widgets_values"] = ["%Blank.width%/%date:yyyy-MM-dd hh%/%width%"]
    assert made(data, types)["3"]["inputs"]["filename_prefix"] == "64/%date:yyyy-MM-dd hh%/%width%"
    dated = made(data, types, now=datetime(2026, 3, 4, 5, 6))
    assert dated["3"]["inputs"]["filename_prefix"] == "64/2026-03-04 05/%width%"


def test_a_class_the_server_lacks_is_kept_with_a_warning(types: NodeTypes) -> None:
    slots = [slot("image", "IMAGE", 1), slot("seed", "INT", None, True), slot("mode", "COMBO", None, True)]
    data = picture_chain(type="NotHere", inputs=slots, widgets_values=[3, "randomize", "fast"])
    graph = made(data, types)
    assert graph["2"] == {"class_type": "NotHere", "inputs": {"seed": 3, "mode": "fast", "image": ["1", 0]}}
    assert graph["3"]["inputs"]["images"] == ["2", 0]
    assert codes(data, types) == ["unknown_class"]


def test_links_as_objects_and_ids_as_text_are_read(types: NodeTypes) -> None:
    data = picture_chain()
    data["version"] = 1
    data["links"] = [
        {"id": "1", "origin_id": "1", "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"},
        {"id": 2, "origin_id": 2, "origin_slot": "0", "target_id": "3", "target_slot": 0, "type": "IMAGE"},
    ]
    data["nodes"][1]["id"] = "2"
    assert made(data, types) == made(picture_chain(), types)


def test_links_from_nowhere_are_told_and_left_out(types: NodeTypes) -> None:
    data = picture_chain()
    data["links"] = [[1, 77, 0, 2, 0, "IMAGE"]]
    graph = made(data, types)
    assert graph["2"]["inputs"] == {} and "images" not in graph["3"]["inputs"]
    assert codes(data, types) == ["link_lost", "link_lost"]


def test_reroutes_in_a_circle_end(types: NodeTypes) -> None:
    data = picture_chain(type="Reroute", inputs=[slot("", "*", 1)])
    data["links"] = [[1, 2, 0, 2, 0, "*"], [2, 2, 0, 3, 0, "IMAGE"]]
    assert "images" not in made(data, types)["3"]["inputs"]
    assert codes(data, types) == ["link_cycle"]


def test_a_circle_of_real_nodes_is_left_to_validation(types: NodeTypes) -> None:
    data = picture_chain()
    data["links"][0] = [1, 2, 0, 2, 0, "IMAGE"]
    assert made(data, types)["2"]["inputs"]["image"] == ["2", 0]


def test_damaged_entries_are_told(types: NodeTypes) -> None:
    data = picture_chain()
    data["nodes"] += [None, "x", {"type": "Note"}, data["nodes"][0]]
    data["links"] += [None, [1], {"id": 4}]
    assert set(codes(data, types)) == {"odd_entry"}
    assert made(data, types) == made(picture_chain(), types)


@pytest.mark.parametrize("data", [{}, {"nodes": {}}, {"nodes": None}])
def test_what_is_no_workflow_is_refused(types: NodeTypes, data: dict[str, Any]) -> None:
    with pytest.raises(WorkflowFormatError, match="UI format"):
        convert.to_api(data, types)


def test_a_workflow_of_20_megabytes_is_converted(types: NodeTypes) -> None:
    data = picture_chain()
    data["nodes"] += [node(number, "CLIPTextEncode", ["word " * 200]) for number in range(10, 20_000)]
    assert len(made(data, types)) == 3 + 19_990


@pytest.mark.parametrize("text", ["{" * 200_000, "/*" * 200_000, "*/" + "/*" * 200_000, "//" * 200_000, "{|" * 100_000])
def test_prompts_made_to_take_long_do_not(types: NodeTypes, text: str) -> None:
    made(workflow([node(1, "CLIPTextEncode", [text])]), types)


def test_a_comment_that_does_not_end_is_none(types: NodeTypes) -> None:
    inputs = made(workflow([node(1, "CLIPTextEncode", ["/* a */b /* c // d\n e"])]), types)["1"]["inputs"]
    assert inputs["text"] == "b /* c \n e"
