from __future__ import annotations

import json

import pytest

from comfyops.errors import NotJsonError, UiFormatError, WorkflowFormatError
from comfyops.workflows import api_format
from comfyops.workflows.graph import Link
from tests.unit.workflows.builders import sd15


def test_a_graph_survives_reading_and_writing() -> None:
    data = sd15()
    data["9"]["_meta"] = {"title": "Save it"}
    assert api_format.dump(api_format.parse(data)) == data


def test_the_graph_may_be_wrapped_in_a_prompt_object() -> None:
    assert api_format.parse({"prompt": sd15(), "client_id": "x"}) == api_format.parse(sd15())


def test_links_become_links_and_other_lists_stay_lists() -> None:
    graph = api_format.parse(sd15(n3_seed=["4"], n5_width=[4, 0], n5_height={"__value__": ["4", 0]}))
    assert graph["3"].inputs is not None and graph["5"].inputs is not None
    assert graph["3"].inputs["model"] == Link("4", 0) and type(graph["3"].inputs["model"]) is Link
    assert type(graph["3"].inputs["seed"]) is tuple
    assert type(graph["5"].inputs["width"]) is tuple
    assert api_format.from_value(graph["5"].inputs["height"]) == {"__value__": ["4", 0]}


def test_the_values_of_a_parsed_graph_cannot_be_changed() -> None:
    graph = api_format.parse(sd15())
    with pytest.raises(TypeError):
        graph["3"].inputs["seed"] = 2  # type: ignore[index]
    assert graph.with_input("3", "seed", 2)["3"].inputs["seed"] == 2  # type: ignore[index]
    assert graph["3"].inputs["seed"] == 1  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "{", "not json", b"\xff\xfe", "[" * 100_000])
def test_what_is_not_json_is_refused_with_one_sentence(text: str | bytes) -> None:
    with pytest.raises(NotJsonError) as caught:
        api_format.loads(text, "The file w.json")
    assert caught.value.message.startswith("The file w.json is ") and "\n" not in caught.value.message


@pytest.mark.parametrize("data", [None, 3, "x", [], [{}], {"a": 1}, {"x": "y", "z": []}])
def test_json_that_is_no_graph_is_refused(data: object) -> None:
    with pytest.raises(WorkflowFormatError):
        api_format.parse(data)


def test_ui_format_is_named_and_the_hint_says_what_converts_it() -> None:
    with pytest.raises(UiFormatError) as caught:
        api_format.parse({"nodes": [], "links": [], "version": 0.4})
    assert "UI format" in caught.value.message and "convert" in caught.value.hint


def test_a_value_nested_without_end_is_refused() -> None:
    deep: object = 1
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(WorkflowFormatError):
        api_format.parse(sd15(n9_filename_prefix=deep))


@pytest.mark.parametrize(
    ("node", "oddity"),
    [
        ("text", "it is a string"),
        (None, "it is null"),
        ({"class_type": 5, "inputs": {}}, "its class_type is a number"),
        ({"class_type": "SaveImage", "inputs": []}, "its inputs are a list"),
        ({"class_type": "SaveImage"}, "it has no inputs object"),
        ({"class_type": "SaveImage", "inputs": {}, "_meta": None}, "its _meta is null"),
    ],
)
def test_odd_nodes_are_kept_and_their_oddity_is_told(node: object, oddity: str) -> None:
    graph = api_format.parse({"1": node, "2": {"class_type": "EmptyImage", "inputs": {}}})
    assert oddity in graph["1"].oddity


def test_text_form_is_json_with_a_final_newline() -> None:
    text = api_format.dumps(api_format.parse(sd15()))
    assert text.endswith("}\n") and json.loads(text) == sd15()
