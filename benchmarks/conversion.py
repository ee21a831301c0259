"""Converting workflows of the editor into graphs, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance import frontend

from benchmarks.table import Row
from comfyops.workflows import api_format, convert
from comfyops.workflows.node_types import shipped

GOAL_MS = 1000.0
TEMPLATES = 520


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """520 official templates (the recorded 65, eight times), parsed JSON in, graph out; the types are parsed anew."""
    cases = list(frontend.cases("1.49.6").values())
    count = 65 if quick else TEMPLATES
    chosen = (cases * (count // len(cases) + 1))[:count]
    graphs = [api_format.parse(case["api"]) for case in chosen]
    times = 1 if quick else 5

    def to_graphs() -> None:
        types = shipped("0.33.0")
        for case in chosen:
            convert.to_api(case["ui"], types)

    def to_workflows() -> None:
        types = shipped("0.33.0")
        for graph in graphs:
            convert.to_ui(graph, types)

    yield Row("conversion", f"{count} templates to graphs", _best(to_graphs, times), "ms", "one core", GOAL_MS)
    yield Row("conversion", f"{count} graphs to workflows", _best(to_workflows, times), "ms", "one core, placed too")


def _best(work: Callable[[], Any], times: int) -> float:
    """Milliseconds of processor time, the best of some runs."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found) * 1000
