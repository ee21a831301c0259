"""Validation takes any graph, and its verdict is that of the server's own checks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyops.errors import ComfyOpsError
from comfyops.workflows import api_format, inputs
from comfyops.workflows.checks.server import check
from comfyops.workflows.node_types import shipped
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import report, validate
from tests.property.strategies import good_graphs, graphs


def parsed(data: Any) -> api_format.Graph | None:
    """The graph, None where it is none."""
    try:
        return api_format.parse(json.loads(json.dumps(data)))
    except ComfyOpsError:
        return None


@given(graphs | good_graphs, st.sampled_from(["0.33.0", "0.8.0"]))
def test_the_verdict_is_the_servers(data: Any, version: str) -> None:
    graph, types = parsed(data), shipped(version)
    if graph is None:
        return
    verdict = check(graph, types)
    found = report(graph, types)
    assert found.valid is (verdict.accepted and not verdict.node_faults)
    assert found.valid is not any(item.severity is Severity.ERROR for item in found.problems)
    assert found.safe is not any(item.severity is Severity.DANGER for item in found.problems)
    faulty = {item.node for item in found.problems if item.severity is Severity.ERROR}
    assert set(verdict.node_faults) <= faulty | {""}


@given(graphs | good_graphs)
def test_every_problem_can_be_shown(data: Any) -> None:
    graph = parsed(data)
    for problem in validate(graph, shipped()) if graph is not None else ():
        assert problem.node == "" or (graph is not None and problem.node in graph)
        assert (
            problem.code
            and problem.message.endswith(".")
            and all(isinstance(item, str) for item in problem.suggestions)
        )


@given(
    good_graphs,
    st.text(max_size=8) | st.sampled_from(["seed", "prompt", "1.width", "text", "a.b.c", "."]),
    st.text(max_size=8),
)
def test_any_change_is_made_or_refused_and_never_harms_the_graph(data: Any, name: str, text: str) -> None:
    graph, types = api_format.parse(data), shipped()
    before = api_format.dumps(graph)
    try:
        changed = inputs.apply(graph, inputs.find(graph, types), {name: text}, types)
    except ComfyOpsError as error:
        assert error.message
    else:
        assert list(changed.nodes) == list(graph.nodes)
        validate(changed, types)
    assert api_format.dumps(graph) == before
