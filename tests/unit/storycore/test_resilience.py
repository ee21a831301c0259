from __future__ import annotations

import pytest

from comfyops.errors import RunFailedError, UnreachableError, UnsupportedError
from comfyops.storycore.advanced_workflow_base import WorkflowExecutionError
from comfyops.storycore.circuit_breaker import CircuitBreaker
from comfyops.storycore.resilience import smaller_wishes


def test_the_documented_chain():
    known = {"num_frames": 121, "steps": 50, "width": 1280, "height": 720}
    assert list(smaller_wishes(known)) == [
        ("fewer frames", {"num_frames": 61}),
        ("fewer steps", {"num_frames": 61, "steps": 25}),
        ("smaller", {"width": 512, "height": 384, "num_frames": 31, "steps": 15}),
    ]


def test_nothing_becomes_larger():
    assert list(smaller_wishes({"num_frames": 9, "steps": 4, "width": 64, "height": 64})) == []
    assert list(smaller_wishes({"num_frames": 40, "steps": 4, "width": 64, "height": 64})) == [
        ("smaller", {"num_frames": 31})
    ]


def test_what_is_not_known_is_only_set_in_the_end():
    assert list(smaller_wishes({})) == [("smaller", {"width": 512, "height": 384, "num_frames": 31, "steps": 15})]


def fail(breaker: CircuitBreaker, error: Exception) -> None:
    with pytest.raises(type(error)), breaker.guarding():
        raise error


def test_a_breaker_opens_after_failures_in_a_row_and_closes_again():
    breaker = CircuitBreaker(2, seconds=0.0)
    for _ in range(5):
        fail(breaker, RunFailedError("x"))  # with no time to wait, each try is let through
    breaker = CircuitBreaker(2, seconds=60.0)
    fail(breaker, UnreachableError("x"))
    with breaker.guarding():
        pass
    fail(breaker, UnreachableError("x"))
    assert not breaker.is_open
    fail(breaker, UnreachableError("x"))
    with pytest.raises(WorkflowExecutionError, match="2 times in a row"), breaker.guarding():
        raise AssertionError("never run")


def test_a_server_that_lacks_something_is_not_broken():
    breaker = CircuitBreaker(1)
    fail(breaker, UnsupportedError("x"))
    fail(breaker, WorkflowExecutionError("", "x"))
    assert not breaker.is_open
