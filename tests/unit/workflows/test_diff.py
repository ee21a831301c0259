from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.workflows import api_format
from comfyops.workflows.diff import What, diff
from comfyops.workflows.formatting import renumbered
from comfyops.workflows.graph import Graph
from tests.unit.workflows.builders import chain, sd15


def graph(data: dict[str, Any]) -> Graph:
    return api_format.parse(data)


def shuffled(data: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same workflow with other ids in another order."""
    chance = random.Random(seed)
    names = dict(zip(data, chance.sample(range(100, 100 + 10 * len(data)), len(data)), strict=True))

    def value(item: Any) -> Any:
        return [str(names[item[0]]), item[1]] if isinstance(item, list) else item

    nodes = [
        (str(names[key]), {**node, "inputs": {name: value(item) for name, item in node["inputs"].items()}})
        for key, node in data.items()
    ]
    chance.shuffle(nodes)
    return dict(nodes)


def twins() -> dict[str, Any]:
    """Two equal chains beside one another, and a node that takes both in order."""
    nodes: dict[str, Any] = {}
    for side in "ab":
        nodes[f"{side}1"] = {"class_type": "EmptyImage", "inputs": {"width": 8}}
        nodes[f"{side}2"] = {"class_type": "ImageInvert", "inputs": {"image": [f"{side}1", 0]}}
        nodes[f"{side}3"] = {"class_type": "SaveImage", "inputs": {"images": [f"{side}2", 0]}}
    return nodes


def found(left: dict[str, Any], right: dict[str, Any]) -> list[tuple[What, str, str, str]]:
    return [(item.what, item.node, item.other, item.input) for item in diff(graph(left), graph(right)).differences]


def test_a_graph_is_the_same_as_itself() -> None:
    assert diff(graph(sd15()), graph(sd15())).same


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_ids_and_order_do_not_count(seed: int) -> None:
    for data in (sd15(), twins(), chain(20)):
        assert diff(graph(data), graph(shuffled(data, seed))).same


def test_a_changed_value_is_one_difference_with_both_values() -> None:
    (item,) = diff(graph(sd15()), graph(sd15(n3_steps=30))).differences
    assert (item.what, item.node, item.other, item.input) == (What.INPUT, "3", "3", "steps")
    assert (item.before, item.after) == (20, 30)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_a_changed_value_is_one_difference_under_other_ids_too(seed: int) -> None:
    (item,) = found(sd15(), shuffled(sd15(n3_steps=30), seed))
    assert item[0] is What.INPUT and item[1] == "3" and item[3] == "steps"


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_a_value_at_the_source_does_not_spread_to_what_it_feeds(seed: int) -> None:
    (item,) = found(sd15(), shuffled(sd15(n4_ckpt_name="other.safetensors"), seed))
    assert item[:2] == (What.INPUT, "4") and item[3] == "ckpt_name"


def test_a_node_put_in_between_is_added_and_one_link_changes() -> None:
    changed = sd15()
    changed["20"] = {"class_type": "ImageInvert", "inputs": {"image": ["8", 0]}}
    changed["9"]["inputs"]["images"] = ["20", 0]
    assert found(sd15(), changed) == [(What.ADDED, "", "20", ""), (What.INPUT, "9", "9", "images")]
    assert found(changed, sd15())[0] == (What.REMOVED, "20", "", "")


def test_swapped_links_are_found() -> None:
    changed = sd15()
    inputs = changed["3"]["inputs"]
    inputs["positive"], inputs["negative"] = inputs["negative"], inputs["positive"]
    assert sorted(item[3] for item in found(sd15(), changed)) == ["negative", "positive"]


def test_one_shared_node_is_not_two_equal_ones() -> None:
    data = twins()
    shared = json.loads(json.dumps(data))
    shared["b2"]["inputs"]["image"] = ["a1", 0]
    del shared["b1"]
    assert {item[0] for item in found(data, shared)} == {What.REMOVED, What.INPUT}
    idle = json.loads(json.dumps(data))
    idle["b2"]["inputs"]["image"] = ["a1", 0]
    assert not diff(graph(data), graph(idle)).same


def test_classes_titles_and_inputs_are_told() -> None:
    changed = sd15()
    changed["8"] = {"class_type": "VAEDecodeTiled", "inputs": {**changed["8"]["inputs"], "tile_size": 512}}
    changed["3"]["_meta"] = {"title": "Sampler"}
    del changed["9"]["inputs"]["filename_prefix"]
    kinds = {(item[0], item[1]) for item in found(sd15(), changed)}
    assert kinds == {
        (What.CLASS, "8"),
        (What.INPUT_ADDED, "8"),
        (What.TITLE, "3"),
        (What.INPUT_REMOVED, "9"),
    }


def test_whole_numbers_texts_and_truth_values_are_told_apart() -> None:
    assert found(sd15(n3_steps=1), sd15(n3_steps=True)) == [(What.INPUT, "3", "3", "steps")]
    assert found(sd15(n3_steps=20), sd15(n3_steps="20")) == [(What.INPUT, "3", "3", "steps")]


@pytest.mark.parametrize(
    "data",
    [
        {"a": {"class_type": "X", "inputs": {"x": ["b", 0]}}, "b": {"class_type": "X", "inputs": {"x": ["a", 0]}}},
        {"a": {"class_type": "X", "inputs": {"x": ["gone", 0]}}},
        {"a": {"class_type": "X"}, "b": {"inputs": {}}, "c": 7},
    ],
)
def test_circles_links_to_nothing_and_broken_nodes_can_be_compared(data: dict[str, Any]) -> None:
    assert diff(graph(data), graph(data)).same
    assert not diff(graph(data), graph(sd15())).same


def test_long_chains_are_compared_without_recursion() -> None:
    left = graph(chain(3000))
    assert diff(left, renumbered(left)).same
