from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.workflows import api_format, node_types
from comfyops.workflows.fix import Change, Kind, fix
from comfyops.workflows.graph import Graph
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import report
from tests.unit.workflows.builders import chain, sd15
from tests.unit.workflows.damage import damaged, recorded, types, valid

TYPES = node_types.shipped()
OLDER = node_types.shipped("0.8.0")


def graph(data: dict[str, Any]) -> Graph:
    return api_format.parse(data)


def only(data: dict[str, Any], *, guess: bool = False) -> tuple[Change, Any]:
    """The only change, and what the input is after it."""
    fixed = fix(graph(data), TYPES, guess=guess)
    assert len(fixed.changes) == 1, fixed.changes
    (change,) = fixed.changes
    assert report(fixed.graph, TYPES).valid and change.why.endswith(".")
    return change, api_format.dump(fixed.graph)[change.node]["inputs"].get(change.input)


def test_a_good_workflow_is_left_as_it_is() -> None:
    for kind in (TYPES, OLDER):
        for guess in (False, True):
            fixed = fix(graph(sd15()), kind, guess=guess)
            assert fixed.changes == () == fixed.guesses and fixed.graph == graph(sd15())


@pytest.mark.parametrize(
    ("change", "name", "after"),
    [
        ({"n3_sampler_name": "EULER"}, "sampler_name", "euler"),
        ({"n3_steps": 0}, "steps", 1),
        ({"n3_steps": 10_001}, "steps", 10_000),
        ({"n3_steps": "20.0"}, "steps", 20),
        ({"n3_cfg": "lots"}, "cfg", 8.0),
        ({"n3_denoise": None}, "denoise", 1.0),
        ({"n3_model": [4, 0]}, "model", ["4", 0]),
        ({"n3_model": ["4", "0"]}, "model", ["4", 0]),
        ({"n3_model": ["4", 0, 0]}, "model", ["4", 0]),
        ({"n3_model": ["4"]}, "model", ["4", 0]),
        ({"n3_model": ["4", 7]}, "model", ["4", 0]),
        ({"n3_model": ["4", 1]}, "model", ["4", 0]),
        ({"n3_model": ["44", 0]}, "model", ["4", 0]),
        ({"n3_model": ["5", 0]}, "model", ["4", 0]),
    ],
)
def test_what_has_one_answer_is_repaired(change: dict[str, Any], name: str, after: Any) -> None:
    (key,) = change
    done, value = only(sd15(**change))
    assert (done.node, done.input, done.kind, done.certain) == ("3", name, Kind.SET, True)
    assert value == after == done.after and done.before == change[key]


def test_a_missing_input_gets_its_default() -> None:
    data = sd15()
    del data["3"]["inputs"]["cfg"]
    change, value = only(data)
    assert value == 8.0 and change.before is None and "default" in change.why


def test_a_lost_link_goes_back_to_the_only_node_that_nobody_takes_anything_from() -> None:
    change, value = only(sd15(n3_negative=["99", 0]))
    assert change.certain and value == ["7", 0]


def test_a_link_with_several_possible_sources_is_only_guessed() -> None:
    data = sd15(n3_negative=["99", 0])
    data["77"] = data["7"]
    fixed = fix(graph(data), TYPES)
    assert fixed.changes == () and [(item.node, item.input) for item in fixed.guesses] == [("3", "negative")]
    assert fixed.graph == graph(data)
    change, value = only(data, guess=True)
    assert not change.certain and value == ["7", 0]  # a text that nothing takes


def test_an_optional_link_to_nothing_is_dropped() -> None:
    data = sd15()
    data["20"] = {"class_type": "ImageScale", "inputs": {}}
    data["10"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"positive": ["6", 0], "negative": ["7", 0], "control_net": ["11", 0], "image": ["12", 0],
                   "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "vae": ["99", 0]},
    }  # fmt: skip
    del data["20"]
    data["11"] = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "c.safetensors"}}
    data["12"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    data["3"]["inputs"].update(positive=["10", 0], negative=["10", 1])
    change, value = only(data)
    assert (change.kind, change.input, value) == (Kind.DROP, "vae", None)


def test_renamed_inputs_are_found_by_letters_and_by_the_choice_they_belong_to() -> None:
    data = sd15()
    data["3"]["inputs"]["SamplerName"] = data["3"]["inputs"].pop("sampler_name")
    fixed = fix(graph(data), TYPES)
    assert [(item.kind, item.before, item.after) for item in fixed.changes] == [
        (Kind.RENAME, "SamplerName", "sampler_name")
    ]
    assert list(fixed.graph["3"].inputs or {}).index("sampler_name") == 9  # in its place


def test_a_misspelt_input_is_only_guessed() -> None:
    data = sd15()
    data["6"]["inputs"]["txet"] = data["6"]["inputs"].pop("text")
    fixed = fix(graph(data), TYPES, guess=False)
    assert all(item.certain for item in fixed.changes)
    guessed = fix(graph(data), TYPES, guess=True)
    assert report(guessed.graph, TYPES).valid


@pytest.mark.parametrize(
    ("given", "certain", "after"),
    [
        ("Model.safetensors", True, "model.safetensors"),
        ("model.ckpt", True, "model.safetensors"),
        ("sd15\\model.safetensors", True, "model.safetensors"),
        ("twice.safetensors", False, None),
        ("modell.safetensors", False, "model.safetensors"),
        ("entirely_else.safetensors", False, None),
    ],
)
def test_files_are_found_by_case_folder_and_extension_where_only_one_fits(
    given: str, certain: bool, after: str | None
) -> None:
    facts = copy.deepcopy(TYPES.object_info())
    files = ["model.safetensors", "a/twice.safetensors", "b/twice.safetensors", "other.safetensors"]
    facts["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [files, {}]
    kind = node_types.from_object_info(facts)
    fixed = fix(graph(sd15(n4_ckpt_name=given)), kind)
    guessed = fix(graph(sd15(n4_ckpt_name=given)), kind, guess=True)
    assert [item.after for item in fixed.changes] == ([after] if certain else [])
    if given == "twice.safetensors":
        assert guessed.graph["4"].inputs == {"ckpt_name": "a/twice.safetensors"}
    else:
        assert [item.after for item in guessed.changes] == ([after] if after else [])


def test_a_replaced_class_becomes_its_successor_with_its_inputs() -> None:
    data = sd15()
    data["20"] = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "a.safetensors"}}
    fixed = fix(graph(data), TYPES)
    assert api_format.dump(fixed.graph)["20"] == {
        "inputs": {"control_net_name": "a.safetensors"},
        "class_type": "ControlNetLoader",
    }
    assert fixed.changes[0].kind is Kind.CLASS and report(fixed.graph, TYPES).valid


def test_a_deprecated_class_with_an_exact_successor_is_replaced() -> None:
    data = chain(4)
    data["b"] = {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}}
    data["save"]["inputs"]["images"] = ["b", 0]
    fixed = fix(graph(data), TYPES)
    assert fixed.graph["b"].class_type == "BatchImagesNode" and report(fixed.graph, TYPES).valid


def test_control_nets_of_the_older_class_are_chained_through_the_newer_one() -> None:
    data = sd15()
    data["11"] = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "c.safetensors"}}
    data["12"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    for key, source in (("20", ["6", 0]), ("21", ["20", 0])):
        inputs = {"conditioning": source, "control_net": ["11", 0], "image": ["12", 0], "strength": 0.5}
        data[key] = {"class_type": "ControlNetApply", "inputs": inputs}
    data["3"]["inputs"]["positive"] = ["21", 0]
    assert fix(graph(data), TYPES).changes == ()
    fixed = api_format.dump(fix(graph(data), TYPES, guess=True).graph)
    assert fixed["3"]["inputs"]["positive"] == ["21", 0] and fixed["3"]["inputs"]["negative"] == ["21", 1]
    assert fixed["21"]["inputs"]["positive"] == ["20", 0] and fixed["21"]["inputs"]["negative"] == ["20", 1]
    assert fixed["20"]["inputs"]["positive"] == ["6", 0] and fixed["20"]["inputs"]["negative"] == ["7", 0]
    assert {fixed[key]["class_type"] for key in ("20", "21")} == {"ControlNetApplyAdvanced"}


def test_a_class_is_found_by_its_letters_and_guessed_by_its_inputs_and_outputs() -> None:
    data = sd15()
    data["3"]["class_type"] = "ksampler"
    assert fix(graph(data), TYPES).graph["3"].class_type == "KSampler"
    del data["8"]["class_type"]
    fixed = fix(graph(data), TYPES)
    assert fixed.graph["8"].class_type is None and fixed.guesses
    fixed = fix(graph(data), TYPES, guess=True)
    assert fixed.graph["8"].class_type == "VAEDecode" and report(fixed.graph, TYPES).valid


def test_nodes_of_custom_packs_and_their_links_are_left_alone() -> None:
    data = sd15()
    data["30"] = {"class_type": "Some Pack: Sharpen", "inputs": {"image": ["8", 0], "how": [1, 2]}}
    data["9"]["inputs"]["images"] = ["30", 3]
    assert fix(graph(data), TYPES, guess=True).changes == ()


def test_a_circle_is_opened_as_a_guess() -> None:
    data = chain(6)
    data["2"]["inputs"]["image"] = ["4", 0]
    assert fix(graph(data), TYPES).changes == ()
    fixed = fix(graph(data), TYPES, guess=True)
    assert [(item.node, item.after, item.certain) for item in fixed.changes] == [("2", ["1", 0], False)]


def test_a_saver_is_added_as_a_guess_where_nothing_is_saved() -> None:
    data = sd15()
    del data["9"]
    assert fix(graph(data), TYPES).changes == ()
    fixed = fix(graph(data), TYPES, guess=True)
    assert [(item.kind, item.after) for item in fixed.changes] == [(Kind.ADD, "SaveImage")]
    assert report(fixed.graph, TYPES).valid


def test_a_node_that_kills_servers_is_repaired() -> None:
    data = sd15()
    data["10"] = {"class_type": "ImageInvert"}
    fixed = fix(graph(data), TYPES)
    assert report(fixed.graph, TYPES).safe and not report(graph(data), TYPES).safe


def test_a_wide_broken_graph_takes_no_minutes() -> None:
    data: dict[str, Any] = {
        "0": {"class_type": "EmptyImage", "inputs": {}},
        "1": {"class_type": "EmptyImage", "inputs": {}},
    }
    for number in range(2, 3000):
        data[str(number)] = {"class_type": "SaveImage", "inputs": {"images": ["gone", 0]}}
    fixed = fix(graph(data), TYPES, guess=True)
    assert len(fixed.changes) > 1000


@settings(deadline=None)
@given(st.sampled_from(range(1000)), st.booleans())
def test_a_valid_workflow_stays_valid(number: int, guess: bool) -> None:
    data = valid()[number % len(valid())]
    fixed = fix(graph(data), types(), guess=guess)
    assert report(fixed.graph, types()).valid


@settings(deadline=None)
@given(damaged(), st.booleans())
def test_a_repaired_workflow_needs_no_repair_and_is_no_worse(data: dict[str, Any], guess: bool) -> None:
    before = graph(data)
    fixed = fix(before, types(), guess=guess)
    assert report(fixed.graph, types()).valid or not report(before, types()).valid
    assert guess or all(item.certain for item in fixed.changes)
    assert bool(fixed.changes) == (fixed.graph != before)
    assert fix(fixed.graph, types(), guess=guess).changes == ()


def test_most_recorded_faults_are_repaired() -> None:
    """Of the damaged graphs of the recordings, leaving missing model files aside."""
    broken = [data for data in recorded() if _errors(data)]
    certain = [data for data in broken if not _errors(api_format.dump(fix(graph(data), types()).graph))]
    guessed = [data for data in broken if not _errors(api_format.dump(fix(graph(data), types(), guess=True).graph))]
    assert len(broken) > 60
    assert len(certain) >= 0.45 * len(broken) and len(guessed) >= 0.9 * len(broken)


def _errors(data: dict[str, Any]) -> list[str]:
    found = graph(data)
    errors = (item for item in report(found, types()).problems if item.severity is Severity.ERROR)
    return [
        item.message
        for item in errors
        if not (
            item.code == "value_not_in_list"
            and item.node in found
            and types().folder(found[item.node].class_type or "", item.input)
        )
    ]
