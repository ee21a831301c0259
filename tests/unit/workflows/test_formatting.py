from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.errors import WorkflowFormatError
from comfyops.workflows import api_format, node_types
from comfyops.workflows.checks.server import check
from comfyops.workflows.diff import diff
from comfyops.workflows.formatting import api_text, formatted, merged, natural, renumbered, ui_text
from comfyops.workflows.graph import Graph
from tests.unit.workflows.builders import sd15
from tests.unit.workflows.damage import damaged, types
from tests.unit.workflows.test_diff import shuffled

TYPES = node_types.shipped()


def graph(data: dict[str, Any]) -> Graph:
    return api_format.parse(data)


def test_numbers_are_sorted_as_numbers() -> None:
    assert sorted(["10", "2", "57:3", "57", "a2", "a10", ""], key=natural) == ["", "2", "10", "57", "57:3", "a2", "a10"]


def test_nodes_go_by_id_and_inputs_in_the_order_of_their_class() -> None:
    done = formatted(graph(sd15()), TYPES)
    assert list(done.nodes) == ["3", "4", "5", "6", "7", "8", "9"]
    assert list(done["3"].inputs or {})[:4] == ["model", "seed", "steps", "cfg"]
    assert done == formatted(done, TYPES) and diff(done, graph(sd15())).same


def test_without_node_types_inputs_go_by_name() -> None:
    assert list(formatted(graph(sd15()))["5"].inputs or {}) == ["batch_size", "height", "width"]


def test_renumbered_ids_follow_the_flow() -> None:
    done = formatted(graph(sd15()), TYPES, renumber=True)
    assert list(done.nodes) == [str(number) for number in range(1, 8)]
    assert all(int(link.node) < int(node.id) for node in done for _, link in node.links())
    assert diff(done, graph(sd15())).same and renumbered(done) == done


def test_a_link_to_nothing_does_not_become_a_link_to_something() -> None:
    data = sd15(n3_model=["1", 0])
    done = renumbered(graph(data))
    assert check(done, TYPES).good_outputs == () == check(graph(data), TYPES).good_outputs


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_same_workflow_under_other_ids_is_written_alike(seed: int) -> None:
    """Where no two nodes do the same, so that the flow alone gives the order of their values."""
    first, second = (formatted(graph(item), TYPES, renumber=True) for item in (sd15(), shuffled(sd15(), seed)))
    assert diff(first, second).same


@settings(deadline=None)
@given(damaged(), st.booleans())
def test_formatting_keeps_what_a_server_says(data: dict[str, Any], renumber: bool) -> None:
    before, after = graph(data), formatted(graph(data), types(), renumber=renumber)
    old, new = check(before, types()), check(after, types())
    assert old.accepted == new.accepted and len(old.good_outputs) == len(new.good_outputs)
    if not renumber:
        assert after.nodes == before.nodes
    assert formatted(after, types(), renumber=renumber) == after


def test_other_fields_of_the_file_stay() -> None:
    original = {"prompt": sd15(), "extra_data": {"a": 1}, "client_id": "me"}
    original["prompt"]["3"]["is_changed"] = ["x"]
    original["prompt"]["3"]["_meta"] = {"title": "S", "colour": "red"}
    changed = graph(original).with_input("3", "steps", 5)
    done = merged(original, changed)
    assert done["extra_data"] == {"a": 1} and done["client_id"] == "me"
    assert done["prompt"]["3"]["is_changed"] == ["x"] and done["prompt"]["3"]["_meta"]["colour"] == "red"
    assert done["prompt"]["3"]["inputs"]["steps"] == 5 and original["prompt"]["3"]["inputs"]["steps"] == 20


def test_the_text_has_class_then_inputs_then_the_rest() -> None:
    text = api_text(merged(sd15(), graph(sd15())))
    assert list(json.loads(text)["3"]) == ["class_type", "inputs"] and text.endswith("}\n")
    assert text == api_text(json.loads(text))


def test_ui_format_keeps_everything_and_its_order_of_nodes() -> None:
    node = {"widgets_values": [1], "type": "KSampler", "id": 7, "zzz": 1, "inputs": []}
    data = {"version": 0.4, "nodes": [node, {"id": 2}], "links": [[1, 2, 0, 7, 0, "X"]], "own": {"b": 1}}
    data["definitions"] = {"subgraphs": [{"version": 1, "id": "s", "nodes": [dict(node)]}]}
    text = ui_text(data)
    assert json.loads(text) == data and ui_text(json.loads(text)) == text
    assert list(json.loads(text)) == ["nodes", "links", "definitions", "version", "own"]
    assert list(json.loads(text)["nodes"][0])[:2] == ["id", "type"]


def test_halves_of_characters_are_written_so_that_they_can_be_read_again() -> None:
    data = sd15(n6_text="\ud800 and ü")
    text = api_text(merged(data, graph(data)))
    assert json.loads(text.encode()) == data


@pytest.mark.parametrize("write", [api_text, ui_text])
def test_what_is_nested_beyond_reason_is_refused(write: Callable[[Any], str]) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    with pytest.raises(WorkflowFormatError, match="nested"):
        write({"nodes": [{"id": 1, "deep": deep}], "definitions": {"subgraphs": [{"x": deep}]}})
