"""Whatever harms a server is told beforehand, and every danger that can be told is one that was seen."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from comfyops.errors import InputError
from comfyops.workflows import api_format
from comfyops.workflows.checks import dangers
from comfyops.workflows.node_types import shipped
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import Report, report
from tests.poison import HARMFUL, POISON

VERSIONS = ("0.33.0", "0.8.0")
HARM = [(name, version) for version in VERSIONS for name in POISON if POISON[name].effect(version) in HARMFUL]


@pytest.mark.parametrize(("name", "version"), HARM)
def test_whatever_harms_a_server_is_told(name: str, version: str) -> None:
    try:
        found = checked(POISON[name].body, version)
    except InputError:
        return
    assert not (found.valid and found.safe)


def test_every_danger_is_one_that_harms_a_server() -> None:
    told = set()
    for name, version in HARM:
        try:
            problems = checked(POISON[name].body, version).problems
        except InputError:
            continue
        told |= {problem.code for problem in problems if problem.severity is Severity.DANGER}
    assert told == _danger_codes()


def checked(body: Any, version: str) -> Report:
    """The report on the body of a request."""
    return report(api_format.parse(body["prompt"]), shipped(version), request=body)


def _danger_codes() -> set[str]:
    """The codes of all dangers, read from the source that tells them."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(dangers))) if isinstance(node, ast.Call)]
    problems = [call.args for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Problem"]
    return {args[2].value for args in problems if ast.unparse(args[3]) == "Severity.DANGER"}  # type: ignore[attr-defined]


def test_an_object_that_poses_as_a_file_without_being_one_is_a_danger() -> None:
    def found(value: object) -> list[str]:
        node = {"class_type": "Preview3D", "inputs": {"model_file": "x", "camera_info": value}}
        return [danger.code for danger in dangers.dangers(api_format.parse({"1": node}))]

    odd = [
        {"filename": 5},
        {"format": ["x"]},
        {"__value__": {"filename": None}},
        [1, 2, {"camera_info": {"format": 1}}],
    ]
    assert all(found(value) == ["file_not_text"] for value in odd)
    fine = [{"filename": "x", "format": "y"}, {"format": None}, {"zoom": 1}, {}, [1, 2, 3], "x", None]
    assert all(found(value) == [] for value in fine)
