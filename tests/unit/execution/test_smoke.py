"""Smoke runs: small, with grey pictures for those that are missing; their failures are reports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from comfyops.backends.comfyui import ComfyUI
from comfyops.execution.smoke import distinct, smoke
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing import graphs
from comfyops.testing.fakes import FakeBackend
from comfyops.workflows.graph import GraphBuilder


@pytest.fixture
async def backend() -> AsyncIterator[ComfyUI]:
    async with Simulator(SimulatorSettings(port=0)) as simulator, ComfyUI(simulator.url) as backend:
        yield backend


async def test_a_workflow_that_runs_is_said_with_what_it_made(backend: ComfyUI) -> None:
    report = await smoke("a", graphs.picture(), backend)
    assert report.ok and report.outputs == 1 and (report.code, report.error, report.skipped) == ("", "", "")


async def test_a_picture_that_is_missing_is_replaced_by_a_grey_one(backend: ComfyUI) -> None:
    report = await smoke("a", graphs.load("nobody-has-this.png"), backend)
    assert report.ok and report.stand_ins == ("nobody-has-this.png",), report


async def test_what_fails_is_a_report() -> None:
    report = await smoke("a", graphs.picture(), FakeBackend(fail_classes=("SaveImage",)))
    assert not report.ok and report.code == "run_failed" and "told to fail" in report.error and report.skipped == ""


async def test_what_a_server_would_refuse_is_a_report(backend: ComfyUI) -> None:
    build = GraphBuilder()
    build.add("SaveImage", images=build.add("NobodyHasThis")[0], filename_prefix="x")
    report = await smoke("a", build.build(), backend)
    assert (report.ok, report.code) == (False, "workflow_invalid") and "NobodyHasThis" in report.error


async def test_a_run_that_takes_too_long_is_given_up_and_cancelled() -> None:
    slow = SimulatorSettings(port=0, seconds_per_node=60)
    async with Simulator(slow) as simulator, ComfyUI(simulator.url) as backend:
        report = await smoke("a", graphs.picture(), backend, timeout=0.3)
        assert await backend.queue() == ()
    assert (report.ok, report.code) == (False, "timeout")


async def test_nodes_that_cost_money_are_not_tried(backend: ComfyUI) -> None:
    types = await backend.node_types()
    paid = next(name for name in types if types[name].is_api_node)
    build = GraphBuilder()
    build.add(paid)
    report = await smoke("a", build.build(), backend)
    assert report.ok and report.outputs == 0 and paid in report.skipped


def test_one_panel_of_each_kind_is_tried() -> None:
    first, second = graphs.picture(color=1), graphs.picture(color=2)
    assert list(distinct({"a": first, "b": second, "c": graphs.load("x.png")})) == ["a", "c"]
