"""Conversion and validation beside comfy-cli, in one run, on the same 65 recorded templates.

comfy-cli (GPL-3.0) is not installed with ComfyOps and none of its code is used: name a Python that has it with
COMFY_CLI_PYTHON=PATH, else this subject is left out. Both sides get parsed JSON, and time themselves in a process of
their own, in turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.conformance import frontend
from tests.conformance.test_validation_verdicts import recorded_types

from benchmarks.table import Row

_TURNS = 5

_OURS = """
from comfyops.workflows import api_format, convert
from comfyops.workflows.node_types import from_object_info
from comfyops.workflows.validate import validate
types = from_object_info(data["facts"])
def convert_all():
    for case in data["cases"]: convert.to_api(case["ui"], types)
def validate_all():
    for case in data["cases"]: validate(api_format.parse(case["api"]), types)
"""

_THEIRS = """
from comfy_cli.cql.engine import Graph
from comfy_cli.workflow_to_api import convert_ui_to_api
graph = Graph.from_object_info(data["facts"])
def convert_all():
    for case in data["cases"]: convert_ui_to_api(case["ui"], data["facts"])
def validate_all():
    for case in data["cases"]: graph.validate_workflow(case["api"])
"""

_FRAME = """
import json, sys, time
data = json.load(sys.stdin)
{setup}
def best(work):
    found = []
    for _ in range(3):
        began = time.process_time(); work(); found.append(time.process_time() - began)
    return min(found) * 1000
print(json.dumps([best(convert_all), best(validate_all)]))
"""


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Milliseconds of processor time for all templates, and how many times comfy-cli's they are."""
    peer = os.environ.get("COMFY_CLI_PYTHON")
    if not peer:
        return
    cases = list(frontend.cases("1.49.6").values())
    data = json.dumps({"facts": recorded_types("0.33.0").object_info(), "cases": cases})
    ours, theirs = [], []
    for _ in range(1 if quick else _TURNS):
        ours.append(_timed(sys.executable, _OURS, data))
        theirs.append(_timed(peer, _THEIRS, data))
    for index, what in enumerate(("conversion", "validation")):
        mine, peers = (statistics.median(times[index] for times in side) for side in (ours, theirs))
        how = f"{len(cases)} templates: ours {mine:.0f} ms, comfy-cli {peers:.0f} ms of processor time"
        yield Row("peers", f"{what}, times comfy-cli's", mine / peers, "x", how)


def _timed(python: str, setup: str, data: str) -> list[float]:
    command = [python, "-c", _FRAME.format(setup=setup)]
    done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=300, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times
