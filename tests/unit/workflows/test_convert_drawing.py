"""From a graph to a workflow that the editor opens: places, groups, slots, values."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import pytest

from comfyops.workflows import api_format, convert, node_types
from comfyops.workflows.graph import Link
from comfyops.workflows.layout import Box, arrange
from comfyops.workflows.node_types import NodeTypes
from tests.unit.workflows.builders import chain, sd15


@pytest.fixture(scope="module")
def types() -> NodeTypes:
    return node_types.shipped("0.33.0")


def drawn(graph: dict[str, Any], types: NodeTypes) -> dict[str, Any]:
    return convert.to_ui(api_format.parse(graph), types)


def by_id(data: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {node["id"]: node for node in data["nodes"]}


def test_what_gives_stands_left_of_what_takes(types: NodeTypes) -> None:
    data = drawn(sd15(), types)
    nodes = by_id(data)
    for _, origin, _, target, _, _ in data["links"]:
        right = nodes[origin]["pos"][0] + nodes[origin]["size"][0]
        assert right < nodes[target]["pos"][0]
        assert nodes[origin]["order"] < nodes[target]["order"]


def test_nodes_do_not_overlap_and_lie_in_their_group(types: NodeTypes) -> None:
    data = drawn(sd15(), types)
    boxes = [(node["pos"][0], node["pos"][1] - 30, *node["size"]) for node in data["nodes"]]
    for one, other in combinations(boxes, 2):
        assert not overlap(one, other)
    groups = {group["title"]: group["bounding"] for group in data["groups"]}
    assert {"Loaders", "Conditioning", "Sampling", "Output"} <= set(groups)
    for one, other in combinations(groups.values(), 2):
        assert not overlap(tuple(one), tuple(other))
    for box in boxes:
        assert sum(inside(box, tuple(group)) for group in groups.values()) == 1


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(one[at] < other[at] + other[at + 2] and other[at] < one[at] + one[at + 2] for at in (0, 1))


def inside(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(other[at] <= one[at] and one[at] + one[at + 2] <= other[at] + other[at + 2] for at in (0, 1))


def test_links_are_known_at_both_ends(types: NodeTypes) -> None:
    data = drawn(sd15(), types)
    nodes = by_id(data)
    assert data["last_link_id"] == len(data["links"]) == 9
    for key, origin, out, target, place, kind in data["links"]:
        assert key in nodes[origin]["outputs"][out]["links"]
        assert nodes[target]["inputs"][place]["link"] == key
        assert nodes[origin]["outputs"][out]["type"] == kind


def test_values_are_saved_in_the_editors_order(types: NodeTypes) -> None:
    nodes = by_id(drawn(sd15(n3_seed=77), types))
    assert nodes[3]["widgets_values"] == [77, "fixed", 20, 8, "euler", "normal", 1]
    assert nodes[5]["widgets_values"] == [512, 512, 1]


def test_titles_are_kept_where_they_are_not_the_usual_ones(types: NodeTypes) -> None:
    graph = sd15()
    graph["3"]["_meta"] = {"title": "Draw it"}
    graph["8"]["_meta"] = {"title": "VAE Decode"}
    nodes = by_id(drawn(graph, types))
    assert nodes[3]["title"] == "Draw it" and "title" not in nodes[8]


def test_ids_that_are_no_numbers_become_numbers(types: NodeTypes) -> None:
    graph = {"a:1": sd15()["4"], "7": sd15()["5"], "007": sd15()["5"]}
    assert sorted(by_id(drawn(graph, types))) == [7, 8, 9]


def test_a_circle_can_be_drawn(types: NodeTypes) -> None:
    graph = chain(5)
    graph["1"]["inputs"]["image"] = ["2", 0]
    data = drawn(graph, types)
    assert len(data["nodes"]) == 5 and len(data["links"]) == 4


def test_the_same_graph_is_drawn_in_the_same_way(types: NodeTypes) -> None:
    assert drawn(sd15(), types) == drawn(sd15(), types)


def test_a_class_the_server_lacks_keeps_its_values(types: NodeTypes) -> None:
    graph = {"1": {"class_type": "NotHere", "inputs": {"text": "a", "amount": 3, "image": ["2", 1]}}, "2": sd15()["4"]}
    back = convert.to_api(drawn(graph, types), types).graph
    assert api_format.dump(back)["1"]["inputs"] == graph["1"]["inputs"]


def test_braces_in_prompts_survive(types: NodeTypes) -> None:
    back = convert.to_api(drawn(sd15(n6_text="a {b|c} d"), types), types).graph
    assert back["6"].inputs["text"] == "a {b|c} d"  # type: ignore[index]


@pytest.mark.parametrize("text", ["see https://example.org/a", "a /* b */ c", "x\\{y", "{a|b} // c"])
def test_prompts_that_the_editor_would_change_survive(types: NodeTypes, text: str) -> None:
    back = convert.to_api(drawn(sd15(n6_text=text), types), types).graph
    (node,) = [item for item in back.of_class("CLIPTextEncode") if item.id != "7"]
    assert node.inputs is not None and node.inputs["text"] == text and back["3"].inputs["positive"] == Link(node.id, 0)  # type: ignore[index]


@pytest.mark.parametrize("value", ["words", 7, 2.5, True])
def test_values_for_inputs_that_can_only_be_linked_survive(types: NodeTypes, value: Any) -> None:
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "x"}},
        "2": {"class_type": "ComfySwitchNode", "inputs": {"switch": True, "on_false": value, "on_true": ["1", 0]}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
    }
    back = api_format.dump(convert.to_api(drawn(graph, types), types).graph)
    assert set(back) == {"1", "2:1", "3"}
    assert back["2:1"]["inputs"] == graph["2"]["inputs"]
    assert back["3"]["inputs"] == {"source": ["2:1", 0]}


def test_a_long_chain_is_one_row() -> None:
    keys = [str(number) for number in range(500)]
    plan = arrange({key: Box(100, 50, "lane") for key in keys}, pairwise(keys), ("lane",))
    assert len({y for _, y in plan.places.values()}) == 1
    assert [plan.order[key] for key in keys] == list(range(500))


def test_lanes_in_other_columns_share_their_height() -> None:
    boxes = {"a": Box(100, 50, "one"), "b": Box(100, 50, "two")}
    plan = arrange(boxes, [("a", "b")], ("one", "two"))
    assert plan.places["a"][1] == plan.places["b"][1]
    side_by_side = arrange(boxes, [], ("one", "two"))
    assert side_by_side.places["a"][1] < side_by_side.places["b"][1]
