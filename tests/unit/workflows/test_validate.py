from __future__ import annotations

from typing import Any

import pytest

from comfyops.workflows import api_format, node_types
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.validate import report, validate
from tests.unit.workflows.builders import chain, sd15

TYPES = node_types.shipped()
OLDER = node_types.shipped("0.8.0")


def problems(graph: dict[str, Any], types: node_types.NodeTypes = TYPES) -> list[Problem]:
    return [problem for problem in validate(api_format.parse(graph), types) if problem.code != "file_not_checked"]


def only(graph: dict[str, Any], types: node_types.NodeTypes = TYPES) -> Problem:
    found = problems(graph, types)
    assert len(found) == 1, found
    return found[0]


def test_a_good_workflow_has_no_problems() -> None:
    assert problems(sd15()) == [] == problems(sd15(), OLDER)


def test_offline_it_says_which_files_it_cannot_know() -> None:
    unchecked = [p for p in validate(api_format.parse(sd15()), TYPES) if p.code == "file_not_checked"]
    assert [(p.node, p.input, p.severity) for p in unchecked] == [("4", "ckpt_name", Severity.WARNING)]


@pytest.mark.parametrize(
    ("change", "node", "name", "code", "near"),
    [
        ({"n3_sampler_name": "eular"}, "3", "sampler_name", "value_not_in_list", "euler"),
        ({"n3_sampler_name": "EULER"}, "3", "sampler_name", "value_not_in_list", "euler"),
        ({"n3_steps": 0}, "3", "steps", "value_smaller_than_min", "1"),
        ({"n3_steps": 10_001}, "3", "steps", "value_bigger_than_max", "10000"),
        ({"n3_cfg": "lots"}, "3", "cfg", "invalid_input_type", None),
        ({"n3_cfg": None}, "3", "cfg", "invalid_input_type", None),
        ({"n3_model": ["5", 0]}, "3", "model", "return_type_mismatch", None),
        ({"n3_model": ["4"]}, "3", "model", "bad_linked_input", None),
        ({"n3_model": ["44", 0]}, "3", "model", "link_to_missing_node", None),
        ({"n3_model": [4, 0]}, "3", "model", "bad_linked_input", "4"),
        ({"n3_model": ["4", 3]}, "3", "model", "link_slot_missing", None),
        ({"n3_model": ["4", "0"]}, "3", "model", "bad_linked_input", None),
    ],
)
def test_each_fault_names_node_and_input_and_the_nearest_value(
    change: dict[str, Any], node: str, name: str, code: str, near: str | None
) -> None:
    for types in (TYPES, OLDER):
        problem = only(sd15(**change), types)
        assert (problem.node, problem.input, problem.code) == (node, name, code)
        assert problem.severity is Severity.ERROR
        assert problem.message.endswith(".") and f"Node {node} " in problem.message
        assert near is None or problem.suggestions[0] == near


def test_a_missing_input_is_an_error() -> None:
    graph = sd15()
    del graph["3"]["inputs"]["seed"]
    assert only(graph).code == "required_input_missing"


def test_an_unknown_class_names_the_nearest_ones() -> None:
    graph = sd15()
    graph["3"]["class_type"] = "Ksampler"
    assert only(graph).suggestions[0] == "KSampler"


def test_every_unknown_class_is_named_at_once() -> None:
    graph = sd15()
    graph["3"]["class_type"], graph["8"]["class_type"] = "Foo", "Bar"
    assert [p.node for p in problems(graph)] == ["3", "8"]


def test_a_workflow_without_output_would_run_nothing() -> None:
    graph = sd15()
    del graph["9"]
    assert only(graph).code == "prompt_no_outputs"


def test_a_cycle_is_named_where_the_server_names_it() -> None:
    graph = sd15(n5_width=512)
    graph["a"] = {"class_type": "ImageInvert", "inputs": {"image": ["b", 0]}}
    graph["b"] = {"class_type": "ImageInvert", "inputs": {"image": ["a", 0]}}
    graph["9"]["inputs"]["images"] = ["a", 0]
    errors = [p for p in problems(graph) if p.severity is Severity.ERROR]
    assert {p.node for p in errors} == {"a", "b"} and {p.code for p in errors} == {"dependency_cycle"}
    older = [p for p in problems(graph, OLDER) if p.severity is Severity.ERROR]
    assert [(p.node, p.code) for p in older] == [("", "dependency_cycle")]


def test_a_cycle_that_no_output_needs_is_only_unused() -> None:
    graph = sd15()
    graph["a"] = {"class_type": "ImageInvert", "inputs": {"image": ["a", 0]}}
    assert only(graph).code == "unused_node"


@pytest.mark.parametrize(
    ("link", "code"),
    [(["99", 0], "link_to_missing_node"), (["8", 1], "link_slot_missing"), (["8", 0.5], "link_slot_missing")],
)
def test_a_link_that_leads_nowhere_is_a_danger_in_an_input_that_the_class_does_not_have(
    link: object, code: str
) -> None:
    graph = sd15(n9_other=link)
    answer = report(api_format.parse(graph), TYPES)
    assert answer.valid and [(p.node, p.input, p.code) for p in answer.problems if p.severity is Severity.DANGER] == [
        ("9", "other", code)
    ]
    unused = {**sd15(), "10": {"class_type": "ImageInvert", "inputs": {"image": link}}}
    assert report(api_format.parse(unused), TYPES).safe


@pytest.mark.parametrize("ring", [False, True])
def test_a_long_chain_is_a_danger_though_no_output_needs_it(ring: bool) -> None:
    loose = {f"c{n}": {"class_type": "ImageInvert", "inputs": {"image": [f"c{n - 1}", 0.0]}} for n in range(950)}
    if ring:
        loose["c0"]["inputs"] = {"image": ["c949", 0.0]}
    answer = report(api_format.parse({**sd15(), **loose}), TYPES)
    assert answer.valid and [p.code for p in answer.problems if p.severity is Severity.DANGER] == ["chain_too_deep"]


def test_a_node_without_inputs_is_a_danger_the_server_accepts() -> None:
    graph = sd15()
    graph["10"] = {"class_type": "ImageInvert"}
    answer = report(api_format.parse(graph), TYPES)
    assert answer.valid and not answer.safe
    danger = next(p for p in answer.problems if p.severity is Severity.DANGER)
    assert (danger.node, danger.code) == ("10", "inputs_missing")


@pytest.mark.parametrize("inputs", [None, [], "x"])
def test_inputs_that_are_no_object_are_refused_by_new_servers_and_kill_old_ones(inputs: object) -> None:
    graph = sd15()
    graph["10"] = {"class_type": "ImageInvert", "inputs": inputs}
    assert not report(api_format.parse(graph), TYPES).valid
    older = report(api_format.parse(graph), OLDER)
    assert older.valid and not older.safe


@pytest.mark.parametrize(("length", "valid", "safe"), [(880, True, True), (950, True, False), (1200, False, True)])
def test_long_chains(length: int, valid: bool, safe: bool) -> None:
    answer = report(api_format.parse(chain(length)), TYPES)
    assert (answer.valid, answer.safe) == (valid, safe)


def test_a_very_long_chain_neither_hangs_nor_crashes() -> None:
    answer = report(api_format.parse(chain(20_000)), OLDER)
    assert not answer.valid and {p.code for p in answer.problems} == {"chain_too_deep"}


def test_a_client_id_that_is_no_text_is_a_danger() -> None:
    graph = api_format.parse(sd15())
    assert not report(graph, TYPES, request={"client_id": {}}).safe
    assert report(graph, TYPES, request={"client_id": "me"}).safe


@pytest.mark.parametrize("run_id", ["", "job-1", 42, "0188F4C0-1111-4222-8333-444444444444"])
def test_an_odd_prompt_id_is_an_error_on_new_servers_only(run_id: object) -> None:
    graph = api_format.parse(sd15())
    assert not report(graph, TYPES, request={"prompt_id": run_id}).valid
    assert report(graph, OLDER, request={"prompt_id": run_id}).valid


def test_inputs_that_the_class_does_not_have_are_told() -> None:
    problem = only(sd15(n3_denoice=1))
    assert problem.severity is Severity.WARNING and problem.suggestions == ("denoise",)


def test_what_the_server_accepts_but_cannot_run_is_a_warning() -> None:
    assert only(sd15(n3_model="text")).code == "will_fail"
    video = {"class_type": "SaveVideo", "inputs": {"video": ["v", 0], "filename_prefix": "x", "format": "mpfour"}}
    source = {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}}
    problem = only({"v": source, "s": video})
    assert problem.code == "will_fail" and "mp4" in problem.suggestions


def test_a_replaced_class_is_checked_as_its_successor() -> None:
    old = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "a.safetensors"}, "_meta": {}}
    apply = {"class_type": "ControlNetApplyAdvanced", "inputs": {}}
    graph = sd15()
    graph["20"], graph["21"] = old, apply
    assert "unknown_class" not in {p.code for p in problems(graph)}
    del old["_meta"]
    assert only(graph).code == "server_error"
