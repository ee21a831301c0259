from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.workflows import api_format, node_types
from comfyops.workflows.checks.server import check
from comfyops.workflows.prune import prune
from comfyops.workflows.validate import report
from tests.unit.workflows.builders import sd15
from tests.unit.workflows.damage import damaged, types

TYPES = node_types.shipped()


def removed(data: dict[str, Any]) -> list[str]:
    return [node.id for node in prune(api_format.parse(data), TYPES).removed]


def test_what_no_output_needs_is_left_out_and_the_rest_stays_as_it_is() -> None:
    data = sd15()
    data["20"] = {"class_type": "EmptyImage", "inputs": {"width": 8}}
    data["21"] = {"class_type": "ImageInvert", "inputs": {"image": ["20", 0]}}
    done = prune(api_format.parse(data), TYPES)
    assert [node.id for node in done.removed] == ["20", "21"] and done.graph == api_format.parse(sd15())


def test_a_tidy_workflow_loses_nothing() -> None:
    assert removed(sd15()) == []


def test_a_workflow_without_output_stays_whole() -> None:
    data = sd15()
    del data["9"]
    assert removed(data) == []


def test_a_node_of_an_unknown_class_may_be_an_output() -> None:
    data = sd15()
    data["20"] = {"class_type": "EmptyImage", "inputs": {}}
    data["21"] = {"class_type": "Some Pack: Save", "inputs": {"image": ["20", 0]}}
    assert removed(data) == []


@settings(deadline=None)
@given(damaged(), st.integers(0, 3))
def test_the_verdict_stays_the_same(data: dict[str, Any], idle: int) -> None:
    for number in range(idle):
        data[f"idle{number}"] = {"class_type": "ImageInvert", "inputs": {"image": [f"idle{number - 1}", 0]}}
    before = api_format.parse(data)
    after = prune(before, types())
    old, new = check(before, types()), check(after.graph, types())
    assert (old.accepted, old.good_outputs, old.node_faults) == (new.accepted, new.good_outputs, new.node_faults)
    assert report(before, types()).valid == report(after.graph, types()).valid
    assert prune(after.graph, types()).removed == ()
