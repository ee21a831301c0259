from __future__ import annotations

from dataclasses import replace

import pytest

from comfyops.storycore.routing import Candidate, Figure, RoutingStrategy, choose


def one(key: str, quality: float, seconds: float, memory: float, **more) -> Candidate:
    return Candidate(key, Figure(quality, True), Figure(seconds, True), Figure(memory, True), **more)


FINE = one("video/fine", 0.9, 240, 24)
QUICK = one("video/quick", 0.6, 20, 16)
SMALL = one("video/small", 0.5, 120, 4)
ALL = (FINE, QUICK, SMALL)


@pytest.mark.parametrize(
    ("strategy", "key"),
    [
        (RoutingStrategy.BEST_QUALITY, "video/fine"),
        (RoutingStrategy.FASTEST, "video/quick"),
        (RoutingStrategy.BALANCED, "video/quick"),
        (RoutingStrategy.LEAST_MEMORY, "video/small"),
    ],
)
def test_each_strategy_weighs_its_own_figure(strategy, key):
    decision = choose(ALL, strategy)
    assert decision.selected_workflow == key
    assert {name for name, _ in decision.alternatives} == {item.key for item in ALL} - {key}
    assert key in decision.reasoning and strategy.name in decision.reasoning and "(measured)" in decision.reasoning


def test_balanced_heeds_speed_also_where_runs_take_minutes():
    slow, slower = one("a", 0.80, 120, 8), one("b", 0.82, 240, 8)
    assert choose((slower, slow), RoutingStrategy.BALANCED).selected_workflow == "a"


def test_round_robin_takes_turns():
    picked = [choose(ALL, RoutingStrategy.ROUND_ROBIN, turn).selected_workflow for turn in range(4)]
    assert picked == ["video/fine", "video/quick", "video/small", "video/fine"]


def test_a_workflow_that_often_fails_is_chosen_less():
    failing = replace(FINE, success_rate=0.2, runs=20)
    assert choose((failing, SMALL), RoutingStrategy.BEST_QUALITY).selected_workflow == "video/small"


def test_refused_ones_are_told_with_their_reason():
    lacking = replace(FINE, refusal="the server lacks node WanVaceToVideo")
    decision = choose((lacking, QUICK), RoutingStrategy.BEST_QUALITY)
    assert decision.selected_workflow == "video/quick"
    assert decision.refused == {"video/fine": "the server lacks node WanVaceToVideo"}
    assert "WanVaceToVideo" in decision.reasoning
    assert choose((lacking,), RoutingStrategy.BALANCED) is None


def test_too_much_memory_counts_only_where_something_else_fits():
    heavy = replace(FINE, caution="it wants 24 GB")
    decision = choose((heavy, QUICK), RoutingStrategy.BEST_QUALITY)
    assert decision.selected_workflow == "video/quick" and "24 GB" in decision.refused["video/fine"]
    alone = choose((heavy,), RoutingStrategy.BEST_QUALITY)
    assert alone.selected_workflow == "video/fine" and "24 GB" in alone.reasoning


def test_confidence_grows_with_runs():
    assert choose((FINE,), RoutingStrategy.BALANCED).confidence == 0.5
    assert choose((replace(FINE, runs=95),), RoutingStrategy.BALANCED).confidence == 0.975
