"""Frames of the websocket, recorded and damaged."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.backends import messages
from comfyops.backends.events import Cached, NodeFinished, NodeStarted, OutputKind, Progress, Started
from comfyops.backends.messages import (
    Ended,
    Ending,
    FlagsAgreed,
    QueueChanged,
    SignedPreview,
    Text,
    UnsignedPreview,
    Working,
    parse_binary,
    parse_text,
)
from tests.unit.backends.recorded import (
    both_versions,
    plain_preview,
    recorded,
    signed_preview,
    text_frame,
    text_frames,
)


def kinds(parsed):
    return [type(message).__name__ for message in parsed if not isinstance(message, QueueChanged | Working)]


@both_versions
def test_a_recorded_run_gives_its_events_in_order(version):
    transcript = recorded(version, "ws_run_then_cached")
    run_id = transcript["first"]["prompt_id"]
    parsed = [parse_text(frame) for frame in text_frames(transcript["first_messages"])]
    assert Started(run_id) in parsed and Cached(run_id, ("4", "5", "6", "7")) in parsed
    assert [m for m in parsed if isinstance(m, Progress)] == [Progress(run_id, "3", 1, 2), Progress(run_id, "3", 2, 2)]
    assert [m.node for m in parsed if isinstance(m, NodeStarted)] == ["3", "8", "9"]
    (finished,) = [m for m in parsed if isinstance(m, NodeFinished)]
    assert (finished.node, finished.outputs[0].kind) == ("9", OutputKind.IMAGE)
    assert kinds(parsed)[-2:] == ["Ending", "Ended"]


@both_versions
def test_a_recorded_cached_run_starts_no_node(version):
    transcript = recorded(version, "ws_run_then_cached")
    parsed = [parse_text(frame) for frame in text_frames(transcript["cached_messages"])]
    assert kinds(parsed) == ["Started", "Cached", "NodeFinished", "Ending", "Ended"]


@both_versions
@pytest.mark.parametrize("name", ["ws_execution_error_corrupt_image", "ws_interrupted_targeted"])
def test_failed_and_interrupted_runs_end_like_good_ones(version, name):
    transcript = recorded(version, name)
    parsed = [parse_text(frame) for frame in text_frames(transcript["messages"])]
    run_id = transcript["post"]["prompt_id"]
    assert [m for m in parsed if isinstance(m, Ending | Ended)] == [Ending(run_id), Ended(run_id)]


@both_versions
def test_the_recorded_answer_to_our_feature_flags_is_understood(version):
    received = recorded(version, "ws_run_preview_flags")["messages"]
    parsed = [parse_text(frame) for frame in text_frames(received)]
    assert FlagsAgreed(True) in parsed
    assert json.loads(messages.FEATURE_FLAGS)["data"] == {"supports_preview_metadata": True}


def test_previews_of_both_kinds_keep_their_picture():
    assert parse_binary(plain_preview(b"\xff\xd8picture")) == UnsignedPreview("image/jpeg", b"\xff\xd8picture")
    assert parse_binary(plain_preview(b"\x89PNG", 2)) == UnsignedPreview("image/png", b"\x89PNG")
    assert parse_binary(signed_preview("r", "3", b"\xff\xd8x")) == SignedPreview("r", "3", "image/jpeg", b"\xff\xd8x")


def test_text_of_a_node_is_read_from_binary_type_three():
    assert parse_binary(text_frame("12", "16 × 16")) == Text("12", "16 × 16")


def test_progress_state_is_a_sign_of_life_and_is_not_parsed():
    assert parse_text('{"type": "progress_state", "data": {"prompt_id": "x", "nodes": ' + "[" * 100_000) == Working()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[]",
        "not json",
        '{"type": "executing"}',
        '{"type": ["executing"], "data": {}}',
        '{"type": "assets.seed.started", "data": {"roots": []}}',
        '{"type": "crystools.monitor", "data": {"cpu": 3}}',
        '{"type": "executing", "data": {"node": null}}',
        '{"type": "execution_cached", "data": {"nodes": 5, "prompt_id": "x"}}',
        '{"type": "execution_success", "data": {"prompt_id": 5}}',
        '{"type": "executed", "data": {"output": {}}}',
        "[" * 100_000,
    ],
)
def test_unknown_and_damaged_text_frames_mean_nothing(frame):
    assert parse_text(frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        struct.pack(">II", 2, 1) + b"x",
        struct.pack(">II", 99, 0),
        struct.pack(">II", 4, 1000) + b"{}",
        struct.pack(">II", 4, 2) + b"{}picture",
        struct.pack(">II", 4, 2) + b"[]picture",
        struct.pack(">II", 3, 2**32 - 1) + b"x",
    ],
)
def test_unknown_and_damaged_binary_frames_mean_nothing(frame):
    assert parse_binary(frame) is None


@given(st.binary(max_size=64))
def test_no_binary_frame_is_an_error(frame):
    parse_binary(frame)


_ODD = [None, True, 0, -1.5, float("inf"), "", "x", [], [None], {}, {"images": 5}, {"images": ["x", {"filename": []}]}]
_KEYS = ["prompt_id", "node", "nodes", "value", "max", "output", "status"]


@given(st.sampled_from(sorted(messages._PARSERS)), st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(_ODD)))
def test_no_data_of_a_known_type_is_an_error(kind, data):
    parse_text(json.dumps({"type": kind, "data": data}))


def test_half_a_character_that_a_node_shows_becomes_a_question_mark() -> None:
    told = parse_text(
        '{"type": "executed", "data": {"prompt_id": "a", "node": "1", "output": {"text": ["x\\ud83dy"]}}}'
    )
    assert isinstance(told, NodeFinished)
    assert told.outputs[0].text == "x?y"
    whole = parse_text(
        '{"type": "executed", "data": {"prompt_id": "a", "node": "1", "output": {"text": ["\\ud83d\\ude00"]}}}'
    )
    assert isinstance(whole, NodeFinished)
    assert whole.outputs[0].text == "\U0001f600"
