"""Subgraphs and group nodes: expanded, nested, reused, bypassed, damaged."""

from __future__ import annotations

from typing import Any

import pytest

from comfyops.errors import WorkflowFormatError
from comfyops.workflows import convert, node_types
from comfyops.workflows.node_types import NodeTypes
from tests.unit.workflows.test_convert import codes, made
from tests.unit.workflows.ui_builder import link, node, picture_chain, slot, subgraph, workflow

INVERT = "11111111-aaaa"


@pytest.fixture(scope="module")
def types() -> NodeTypes:
    return node_types.shipped("0.33.0")


def inverting(**fields: Any) -> dict[str, Any]:
    """The chain of a picture whose middle is an instance of a subgraph that scales and inverts."""
    scale = node(
        5,
        "ImageScaleBy",
        ["area", 2.0],
        inputs=[("image", "IMAGE", 1), ("upscale_method", "COMBO", None, True), ("scale_by", "FLOAT", 4, True)],
        outputs=[("IMAGE", "IMAGE")],
    )
    invert = node(6, "ImageInvert", inputs=[("image", "IMAGE", 2)], outputs=[("IMAGE", "IMAGE")])
    definition = subgraph(
        INVERT,
        [scale, invert],
        [
            link(1, -10, 0, 5, 0, "IMAGE"),
            link(2, 5, 0, 6, 0, "IMAGE"),
            link(3, 6, 0, -20, 0, "IMAGE"),
            link(4, -10, 1, 5, 2, "FLOAT"),
        ],
        inputs=[("image", "IMAGE", [1]), ("scale_by", "FLOAT", [4])],
        outputs=[("IMAGE", "IMAGE", [3])],
    )
    slots = [slot("image", "IMAGE", 1), slot("scale_by", "FLOAT", None, True)]
    data = picture_chain(type=INVERT, inputs=slots, **fields)
    return {**data, "definitions": {"subgraphs": [definition]}}


def test_inner_nodes_get_ids_that_lead_to_them(types: NodeTypes) -> None:
    graph = made(inverting(), types)
    assert set(graph) == {"1", "2:5", "2:6", "3"}
    assert graph["2:5"]["inputs"]["image"] == ["1", 0]
    assert graph["3"]["inputs"]["images"] == ["2:6", 0]


def test_an_instances_own_value_goes_inside(types: NodeTypes) -> None:
    assert made(inverting(), types)["2:5"]["inputs"]["scale_by"] == 2.0
    assert made(inverting(widgets_values=[3.5]), types)["2:5"]["inputs"]["scale_by"] == 3.5


def test_proxy_widgets_of_older_editors_are_read(types: NodeTypes) -> None:
    proxies = {"proxyWidgets": [["5", "upscale_method"], ["-1", "scale_by"], ["5", "$$preview"], ["99", "gone"]]}
    graph = made(inverting(widgets_values=["lanczos", 4.0], properties=proxies), types)
    assert graph["2:5"]["inputs"]["upscale_method"] == "lanczos"
    assert graph["2:5"]["inputs"]["scale_by"] == 4.0


def test_two_instances_have_values_of_their_own(types: NodeTypes) -> None:
    proxies = {"proxyWidgets": [["5", "upscale_method"]]}
    data = inverting(widgets_values=["lanczos"], properties=proxies)
    other = {**data["nodes"][1], "id": 8, "inputs": [], "widgets_values": ["bilinear"]}
    data["nodes"].append(other)
    graph = made(data, types)
    assert graph["2:5"]["inputs"]["upscale_method"] == "lanczos"
    assert graph["8:5"]["inputs"]["upscale_method"] == "bilinear"


def test_a_bypassed_instance_hands_on_what_it_takes(types: NodeTypes) -> None:
    graph = made(inverting(mode=4), types)
    assert set(graph) == {"1", "3"}
    assert graph["3"]["inputs"]["images"] == ["1", 0]


def test_a_muted_instance_is_gone(types: NodeTypes) -> None:
    assert set(made(inverting(mode=2), types)) == {"1", "3"}


def test_subgraphs_inside_subgraphs_are_expanded(types: NodeTypes) -> None:
    data = inverting()
    inner = data["definitions"]["subgraphs"][0]
    host = node(4, INVERT, inputs=[("image", "IMAGE", 1), ("scale_by", "FLOAT", 3, True)], outputs=[("IMAGE", "IMAGE")])
    outer = subgraph(
        "outer",
        [host],
        [link(1, -10, 0, 4, 0, "IMAGE"), link(2, 4, 0, -20, 0, "IMAGE"), link(3, -10, 1, 4, 1, "FLOAT")],
        inputs=[("image", "IMAGE", [1]), ("scale_by", "FLOAT", [3])],
        outputs=[("IMAGE", "IMAGE", [2])],
    )
    data["nodes"][1] |= {"type": "outer", "widgets_values": [7.0]}
    for definitions in ([outer, inner], [inner, outer], [{**outer, "definitions": {"subgraphs": [inner]}}]):
        data["definitions"] = {"subgraphs": definitions}
        graph = made(data, types)
        assert set(graph) == {"1", "2:4:5", "2:4:6", "3"}
        assert graph["2:4:5"]["inputs"]["scale_by"] == 7.0
        assert graph["2:4:5"]["inputs"]["image"] == ["1", 0]
        assert graph["3"]["inputs"]["images"] == ["2:4:6", 0]


def test_an_input_that_leads_straight_to_an_output_is_followed(types: NodeTypes) -> None:
    through = subgraph(
        "through",
        [],
        [link(1, -10, 0, -20, 0, "IMAGE")],
        inputs=[("image", "IMAGE", [1])],
        outputs=[("IMAGE", "IMAGE", [1])],
    )
    data = {**picture_chain(type="through"), "definitions": {"subgraphs": [through]}}
    assert made(data, types)["3"]["inputs"]["images"] == ["1", 0]


def test_a_subgraph_that_names_itself_is_refused(types: NodeTypes) -> None:
    own = subgraph("own", [node(1, "own")], [])
    with pytest.raises(WorkflowFormatError, match="'own' contains itself"):
        convert.to_api({**picture_chain(type="own"), "definitions": {"subgraphs": [own]}}, types)


def test_subgraphs_that_contain_each_other_are_refused(types: NodeTypes) -> None:
    both = [subgraph("a", [node(1, "b")], []), subgraph("b", [node(1, "a")], [])]
    with pytest.raises(WorkflowFormatError, match="contains itself"):
        convert.to_api({**picture_chain(), "definitions": {"subgraphs": both}}, types)


def test_subgraphs_that_multiply_beyond_reason_are_refused(types: NodeTypes) -> None:
    levels = [subgraph(f"s{at}", [node(n, f"s{at + 1}") for n in range(10)], []) for at in range(8)]
    data = {**workflow([node(1, "s0")]), "definitions": {"subgraphs": [*levels, subgraph("s8", [], [])]}}
    with pytest.raises(WorkflowFormatError, match="expands to more than"):
        convert.to_api(data, types)


def test_links_of_ports_that_are_not_there_are_left_out(types: NodeTypes) -> None:
    data = inverting()
    definition = data["definitions"]["subgraphs"][0]
    definition["inputs"] = [{"name": "image", "type": "IMAGE", "linkIds": [77]}]
    definition["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "linkIds": [88]}]
    graph = made(data, types)
    assert "images" not in graph["3"]["inputs"]
    assert graph["2:5"]["inputs"]["image"] == ["1", 0]


def test_an_instance_of_a_lost_subgraph_is_kept_with_a_warning(types: NodeTypes) -> None:
    data = inverting()
    data["definitions"] = {}
    assert codes(data, types) == ["unknown_class"]
    assert made(data, types)["2"]["class_type"] == INVERT


@pytest.mark.parametrize("mark", ["workflow>", "workflow/"])
def test_a_group_node_is_unpacked(types: NodeTypes, mark: str) -> None:
    scale = node(-1, "ImageScaleBy", ["area", 2.0], inputs=[("image", "IMAGE")], outputs=[("IMAGE", "IMAGE")])
    invert = node(-1, "ImageInvert", inputs=[("image", "IMAGE")], outputs=[("IMAGE", "IMAGE")])
    group = {"nodes": [scale, invert], "links": [[0, 0, 1, 0, 5, "IMAGE"]], "external": []}
    data = picture_chain(type=f"{mark}both", widgets_values=["lanczos", 3.0])
    graph = made({**data, "extra": {"groupNodes": {"both": group}}}, types)
    assert graph["2:0"]["inputs"] == {"upscale_method": "lanczos", "scale_by": 3.0, "image": ["1", 0]}
    assert graph["2:1"]["inputs"] == {"image": ["2:0", 0]}
    assert graph["3"]["inputs"]["images"] == ["2:1", 0]


def test_a_proxy_with_prefixes_without_end_is_left_out(types: NodeTypes) -> None:
    proxies = {"proxyWidgets": [["5", "1:" * 200_000 + "x"]]}
    assert made(inverting(properties=proxies), types)["2:5"]["inputs"]["scale_by"] == 2.0


def test_group_nodes_in_group_nodes_are_unpacked_and_one_in_itself_ends(types: NodeTypes) -> None:
    invert = node(-1, "ImageInvert", inputs=[("image", "IMAGE")], outputs=[("IMAGE", "IMAGE")])
    inner = node(-1, "workflow>one", inputs=[("image", "IMAGE")], outputs=[("IMAGE", "IMAGE")])
    own = node(-1, "workflow>own")
    groups = {
        "one": {"nodes": [invert], "links": []},
        "two": {"nodes": [inner], "links": []},
        "own": {"nodes": [own, own], "links": []},
    }
    extra = {"extra": {"groupNodes": groups}}
    assert made({**workflow([node(2, "workflow>two")]), **extra}, types)["2:0:0"]["class_type"] == "ImageInvert"
    assert set(codes({**workflow([node(2, "workflow>own")]), **extra}, types)) == {"unknown_class"}
