"""Conversion of anything: an answer or a clear error, never a hang or another exception; and round trips."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.errors import InputError, NodeFactsError
from comfyops.workflows import api_format, containers, convert, embedded, node_types
from comfyops.workflows.graph import Graph
from tests.conformance import frontend
from tests.property.strategies import graphs, json_values
from tests.unit.workflows.media import KINDS

TYPES = node_types.shipped("0.33.0")
CASES = [case["ui"] for version in ("1.49.6", "1.49.6-changed") for case in frontend.cases(version).values()]
SMALL = sorted(CASES, key=lambda ui: len(json.dumps(ui)))[:60]
MEDIA = [make({"prompt": "{}", "workflow": json.dumps(SMALL[0])}) for make in KINDS.values()]

KINDS_OF_NODES = (
    "EmptyImage", "SaveImage", "ImageInvert", "KSampler", "PreviewAny", "CLIPTextEncode", "ResizeImageMaskNode",
    "BatchImagesNode", "ComfySwitchNode", "Load3D", "PrimitiveNode", "GetNode", "SetNode", "Reroute", "Note",
    "Unknown", "sub", "workflow>g",
)  # fmt: skip
SOUND = ("EmptyImage", "ImageInvert", "ImageScaleBy", "CLIPTextEncode", "KSampler", "SaveImage", "BatchImagesNode")
ids = st.sampled_from([1, 2, 3, "1", "a", -10, -20]) | json_values
link_ids = st.none() | st.integers(0, 6) | json_values
slots = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["image", "images", "text", "seed", "switch", "on_true"]), "link": link_ids},
        optional={"type": json_values, "widget": st.just({"name": "seed"}) | json_values},
    )
    | json_values,
    max_size=4,
)
ui_nodes = st.fixed_dictionaries(
    {"id": ids, "type": st.sampled_from(KINDS_OF_NODES) | json_values},
    optional={
        "mode": st.sampled_from([0, 2, 4]) | json_values,
        "inputs": slots,
        "outputs": slots,
        "widgets_values": json_values,
        "properties": st.fixed_dictionaries({}, optional={"proxyWidgets": json_values, "Camera Config": json_values}),
    },
)
ui_links = st.tuples(link_ids, ids, st.integers(-1, 3) | json_values, ids, st.integers(-1, 3), json_values).map(list)
ui_graphs = {
    "nodes": st.lists(ui_nodes | json_values, max_size=6),
    "links": st.lists(ui_links | json_values, max_size=8),
}
ports = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["image", "seed"]), "linkIds": json_values}), max_size=3
)
subgraphs = st.fixed_dictionaries(
    {"id": st.sampled_from(["sub", "other"]) | json_values, **ui_graphs},
    optional={"inputs": ports | json_values, "outputs": ports | json_values},
)
workflows = st.fixed_dictionaries(
    ui_graphs,
    optional={
        "version": json_values,
        "definitions": st.fixed_dictionaries({}, optional={"subgraphs": st.lists(subgraphs, max_size=3) | json_values}),
        "extra": st.fixed_dictionaries({"groupNodes": st.fixed_dictionaries({"g": subgraphs | json_values})}),
    },
)


def convert_or_tell(data: Any) -> Graph | None:
    """The graph, None where an error of ours says why there is none."""
    try:
        return convert.to_api(data, TYPES).graph
    except InputError as error:
        assert error.message and not isinstance(error, NodeFactsError)
        return None


@settings(max_examples=300)
@given(workflows)
def test_any_workflow_is_converted_or_told(data: dict[str, Any]) -> None:
    graph = convert_or_tell(data)
    if graph is not None:
        json.dumps(api_format.dump(graph))


@settings(max_examples=300)
@given(st.data())
def test_a_real_workflow_damaged_anywhere_is_converted_or_told(data: st.DataObject) -> None:
    workflow = copy.deepcopy(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 4))):
        place: Any = workflow
        while isinstance(place, dict | list) and place:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 6)) == 0:
                if data.draw(st.booleans()):
                    place[key] = data.draw(json_values)
                else:
                    del place[key]
                break
            place = place[key]
    convert_or_tell(workflow)


@settings(max_examples=300)
@given(graphs)
def test_any_graph_can_be_drawn_and_what_is_drawn_is_steady(data: dict[str, Any]) -> None:
    try:
        graph = api_format.parse(data)
    except InputError:
        return
    drawn = json.loads(json.dumps(convert.to_ui(graph, TYPES)))
    once = convert.to_api(drawn, TYPES).graph
    again = convert.to_api(convert.to_ui(once, TYPES), TYPES).graph
    assert frontend.digest(api_format.dump(once), TYPES) == frontend.digest(api_format.dump(again), TYPES)


@st.composite
def sound_graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Graphs of known classes in which every field has a value of its type, linked forwards at random."""
    graph: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 8))):
        node_type = TYPES[draw(st.sampled_from(SOUND))]
        inputs: dict[str, Any] = {}
        for item in node_type.inputs:
            if item.kind == "COMFY_AUTOGROW_V3":
                inputs |= {
                    f"images.image{at}": link for at in range(draw(st.integers(0, 3))) if (link := _link(draw, graph))
                }
            elif item.is_widget:
                inputs[item.name] = draw(_values(item))
            elif (link := _link(draw, graph)) is not None:
                inputs[item.name] = link
        graph[str(number)] = {"class_type": node_type.name, "inputs": inputs}
    return graph


def _link(draw: st.DrawFn, graph: dict[str, Any]) -> list[Any] | None:
    return [draw(st.sampled_from(sorted(graph))), draw(st.integers(0, 2))] if graph and draw(st.booleans()) else None


def _values(item: node_types.InputType) -> st.SearchStrategy[Any]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\/%"), max_size=20)
    plain = {"INT": st.integers(0, 2**63), "FLOAT": st.floats(0, 1e6), "STRING": text, "BOOLEAN": st.booleans()}
    return plain.get(item.kind, st.sampled_from(item.choices or ("",)))


@settings(max_examples=200)
@given(sound_graphs())
def test_a_sound_graph_comes_back_as_it_was(data: dict[str, Any]) -> None:
    drawn = json.loads(json.dumps(convert.to_ui(api_format.parse(data), TYPES)))
    back = api_format.dump(convert.to_api(drawn, TYPES).graph)
    assert {key: node["inputs"] for key, node in back.items()} == {key: node["inputs"] for key, node in data.items()}


@settings(max_examples=300)
@given(st.sampled_from(MEDIA), st.data())
def test_any_media_file_is_read_or_told(media: bytes, data: st.DataObject) -> None:
    changed = bytearray(media)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(0, len(changed)))]
    try:
        embedded.workflows(bytes(changed), "x")
    except InputError as error:
        assert error.message


@settings(max_examples=300)
@given(st.sampled_from([media[:16] for media in MEDIA]), st.binary(max_size=300))
def test_any_bytes_after_a_media_head_are_read_or_told(head: bytes, rest: bytes) -> None:
    try:
        containers.texts(head + rest)
    except ValueError as error:
        assert str(error)
