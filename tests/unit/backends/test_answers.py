"""HTTP answers, recorded and damaged."""

import pytest

from comfyops.backends import answers
from comfyops.backends.events import Outcome
from comfyops.errors import NotComfyUIError
from tests.unit.backends.recorded import both_versions, recorded


def only(entry):
    (run_id,) = entry
    return answers.history(entry, run_id)


@both_versions
def test_a_cached_run_is_told_as_cached_with_the_outputs_of_the_first(version):
    recording = recorded(version, "history_cached_no_client_id")
    first, _ = only(recording["first"])
    again, number = only(recording["cached_with_client_id"])
    assert (first.cached, again.cached) == (False, True)
    assert first.outputs == again.outputs and again.outcome is Outcome.SUCCESS
    assert number == next(iter(recording["cached_with_client_id"].values()))["prompt"][0]


@both_versions
def test_times_are_seconds_of_the_servers_clock(version):
    entry = recorded(version, "history_cached_no_client_id")["first"]
    finished, _ = only(entry)
    messages = dict(next(iter(entry.values()))["status"]["messages"])
    assert finished.started_at == messages["execution_start"]["timestamp"] / 1000
    assert finished.finished_at == messages["execution_success"]["timestamp"] / 1000


@both_versions
def test_a_failure_says_node_class_and_reason(version):
    finished, _ = only(recorded(version, "ws_execution_error_corrupt_image")["history"])
    assert finished.outcome is Outcome.FAILED and not finished.cached
    assert (finished.failure.node, finished.failure.class_type) == ("1", "LoadImage")
    assert finished.failure.message.startswith("cannot identify image file")


@both_versions
def test_an_interrupted_run_is_no_failed_one(version):
    finished, _ = only(recorded(version, "ws_interrupted_targeted")["history"])
    assert finished.outcome is Outcome.INTERRUPTED and finished.failure is None


@both_versions
def test_the_queue_is_sorted_as_it_will_run_not_as_it_is_listed(version):
    queue = answers.queue(recorded(version, "queue_interrupt_free_history")["queue_busy"])
    assert [run.running for run in queue] == [True] + [False] * 5
    numbers = [run.number for run in queue[1:]]
    assert numbers == sorted(numbers) and numbers[0] < 0
    assert {run.client_id for run in queue} == {"queue-ops"}


@both_versions
def test_every_recorded_rejection_is_one_sentence_with_a_code(version):
    seen = 0
    for case in recorded(version, "prompt_post"):
        answer = case["response"].get("json")
        if case["response"]["status"] == 400 and answer:
            error = answers.rejection(answer)
            assert error.message.endswith(".") and "\n" not in error.message and len(error.message) < 400
            assert error.facts["type"] == answer["error"]["type"]
            assert {fault["node"] for fault in error.facts["node_errors"]} == set(answer["node_errors"])
            seen += 1
    assert seen > 10


@both_versions
def test_recorded_partial_acceptance_names_the_dropped_outputs(version):
    partial = [
        case["response"]["json"]
        for case in recorded(version, "prompt_post")
        if case["response"]["status"] == 200 and case["response"].get("json", {}).get("node_errors")
    ]
    assert partial
    for answer in partial:
        queued = answers.queued(answer, "")
        assert queued.run_id == answer["prompt_id"] and queued.faults and queued.dropped_outputs


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "plain words"}, "plain words"),
        ({"error": {"type": "x", "message": "in", "details": "detail"}}, "in: detail"),
        ({"error": {"message": "cycle", "details": ""}, "node_errors": {}}, "cycle"),
        ({}, "no reason given"),
        (None, "no reason given"),
        ({"error": {"message": "m"}, "node_errors": []}, "m"),
        ({"error": {"message": "m"}, "node_errors": {"1": {"errors": "odd"}, "2": 5}}, "m"),
    ],
)
def test_a_rejection_of_any_shape_has_a_reason(answer, words):
    assert answers.rejection(answer).message == f"The server refused the workflow: {words}."


def test_a_cycle_that_0_8_0_refuses_without_a_word_is_still_a_sentence():
    answer = {
        "error": {
            "type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation",
            "details": "",
            "extra_info": {},
        },
        "node_errors": {},
    }
    assert answers.rejection(answer).message.endswith("Prompt outputs failed validation.")


def test_the_servers_paths_in_a_traceback_do_not_get_into_the_facts():
    fault = {
        "type": "exception_during_inner_validation",
        "message": "boom",
        "details": "tuple index",
        "extra_info": {"traceback": ["/home/somebody/secret.py"], "input_name": "images"},
    }
    answer = {
        "error": {"type": "t", "message": "m", "details": ""},
        "node_errors": {"2": {"errors": [fault], "dependent_outputs": ["2"], "class_type": "SaveImage"}},
    }
    assert "secret" not in str(answers.rejection(answer).facts)


@both_versions
def test_history_of_an_unknown_run_is_none(version):
    assert answers.history({}, "x") is None


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (answers.queue, []),
        (answers.queue, {}),
        (answers.queue, {"queue_running": 1, "queue_pending": []}),
        (answers.queue, {"queue_running": [[]], "queue_pending": []}),
        (answers.queue, {"queue_running": ["x"], "queue_pending": []}),
        (lambda data: answers.history(data, "x"), []),
        (lambda data: answers.history(data, "x"), {"x": 5}),
        (answers.jobs, {"jobs": {}}),
        (answers.jobs, {"jobs": [5]}),
        (answers.jobs, None),
        (answers.system_stats, {"system": None}),
        (answers.system_stats, "x"),
        (answers.uploaded, {"name": 5}),
        (answers.uploaded, []),
        (lambda data: answers.queued(data, "x"), {}),
        (lambda data: answers.queued(data, "x"), [1]),
    ],
)
def test_another_programs_answer_is_told_as_not_comfyui(parse, data):
    with pytest.raises(NotComfyUIError, match="not what a ComfyUI server gives"):
        parse(data)


def test_a_history_entry_without_status_or_prompt_still_has_its_outputs():
    finished, number = answers.history({"x": {"outputs": {"2": {"images": [{"filename": "a.png"}]}}}}, "x")
    assert finished.outcome is Outcome.SUCCESS and finished.outputs[0].filename == "a.png" and number == 0
