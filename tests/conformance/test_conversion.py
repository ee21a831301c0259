"""Conversion against the official editor: the same graphs, and back again."""

from __future__ import annotations

import json

import pytest

from comfyops.workflows import api_format, convert, node_types
from tests.conformance import frontend


@pytest.mark.parametrize(("version", "name"), frontend.names())
def test_a_workflow_becomes_the_graph_that_the_official_editor_sends(version: str, name: str) -> None:
    types = node_types.shipped(frontend.NODES[version])
    case = frontend.cases(version)[name]
    if any(node["class_type"] not in types for node in case["api"].values()):
        pytest.skip("the editor itself did not know all of its nodes")
    made = api_format.dump(convert.to_api(case["ui"], types).graph)
    assert frontend.digest(made, types) == frontend.digest(case["api"], types)


@pytest.mark.parametrize(("version", "name"), frontend.names())
def test_a_graph_drawn_for_the_editor_is_sent_as_the_same_graph(version: str, name: str) -> None:
    types = node_types.shipped(frontend.NODES[version])
    graph = api_format.parse(frontend.cases(version)[name]["api"])
    if any(node.class_type not in types for node in graph):
        pytest.skip("the editor itself did not know all of its nodes")
    drawn = json.loads(json.dumps(convert.to_ui(graph, types)))
    back = convert.to_api(drawn, types)
    assert frontend.digest(api_format.dump(back.graph), types) == frontend.digest(api_format.dump(graph), types)
    assert not [item for item in back.warnings if item.code != "needs_editor"]
