"""Which workflow to take, decided from figures alone: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class RoutingStrategy(StrEnum):
    """What counts most."""

    BEST_QUALITY = "best_quality"
    FASTEST = "fastest"
    BALANCED = "balanced"
    LEAST_MEMORY = "least_memory"
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and whether it was measured here or is only assumed."""

    value: float
    measured: bool = False

    def told(self, unit: str) -> str:
        """The number in words."""
        return f"{self.value:.3g}{unit} ({'measured' if self.measured else 'assumed'})"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A workflow and what is known of it: quality from 0 to 1, seconds for this request, GB of video memory.

    `success_rate` is 1 before the first of `runs`. `refusal` says why it cannot be taken, "" where it can; `caution`
    why it is only taken where nothing else is left.
    """

    key: str
    quality: Figure
    seconds: Figure
    memory: Figure
    success_rate: float = 1.0
    runs: int = 0
    refusal: str = ""
    caution: str = ""

    def told(self) -> str:
        """The figures in words."""
        figures = (f"quality {self.quality.told('')}", self.seconds.told(" s"), f"memory {self.memory.told(' GB')}")
        rate = f", {self.success_rate:.0%} of {self.runs} runs succeeded" if self.runs else ", not run here yet"
        return f"{self.key}: {', '.join(figures)}{rate}"


@dataclass(frozen=True)
class RoutingDecision:
    """What was chosen and why. `alternatives` are (key, score), best first; `refused` says why others were not.

    `estimated_time` is in seconds, `estimated_memory` in GB, `confidence` from 0 to 1: how far figures were measured.
    """

    selected_workflow: str
    confidence: float
    reasoning: str
    alternatives: list[tuple[str, float]]
    estimated_time: float
    estimated_memory: float
    strategy: RoutingStrategy = RoutingStrategy.BALANCED
    refused: Mapping[str, str] = field(default_factory=dict)


def choose(candidates: Sequence[Candidate], strategy: RoutingStrategy, turn: int = 0) -> RoutingDecision | None:
    """The decision, None where nothing can be taken. `turn` counts the ROUND_ROBIN decisions before this one."""
    refused = {item.key: item.refusal for item in candidates if item.refusal}
    able = [item for item in candidates if not item.refusal]
    fit = [item for item in able if not item.caution]
    if fit:
        refused |= {item.key: item.caution for item in able if item.caution}
    left = fit or able
    if not left:
        return None
    scores = {item.key: _SCORES[strategy](item, left) * _reliability(item) for item in left}
    ordered = sorted(left, key=lambda item: -scores[item.key])
    if strategy is RoutingStrategy.ROUND_ROBIN:
        start = turn % len(left)
        ordered = [*left[start:], *left[:start]]
    best = ordered[0]
    return RoutingDecision(
        selected_workflow=best.key,
        confidence=0.5 + 0.5 * best.runs / (best.runs + 5),
        reasoning=_reasoning(best, ordered, strategy, refused),
        alternatives=[(item.key, round(scores[item.key], 4)) for item in ordered[1:]],
        estimated_time=best.seconds.value,
        estimated_memory=best.memory.value,
        strategy=strategy,
        refused=refused,
    )


def _reliability(item: Candidate) -> float:
    """The success rate, held up a little while there are few runs."""
    return (item.success_rate * item.runs + 1) / (item.runs + 1)


def _quality(item: Candidate, left: Sequence[Candidate]) -> float:
    return item.quality.value


def _speed(item: Candidate, left: Sequence[Candidate]) -> float:
    return _least(item.seconds.value, [other.seconds.value for other in left])


def _balance(item: Candidate, left: Sequence[Candidate]) -> float:
    return 0.6 * _quality(item, left) + 0.4 * _speed(item, left)


def _lightness(item: Candidate, left: Sequence[Candidate]) -> float:
    return _least(item.memory.value, [other.memory.value for other in left])


def _least(value: float, values: Sequence[float]) -> float:
    """1 for the least of the values, half for twice as much."""
    return (min(values) + 0.01) / (value + 0.01)


_SCORES: Mapping[RoutingStrategy, Callable[[Candidate, Sequence[Candidate]], float]] = {
    RoutingStrategy.BEST_QUALITY: _quality,
    RoutingStrategy.FASTEST: _speed,
    RoutingStrategy.BALANCED: _balance,
    RoutingStrategy.LEAST_MEMORY: _lightness,
    RoutingStrategy.ROUND_ROBIN: _balance,
}


def _reasoning(
    best: Candidate, ordered: Sequence[Candidate], strategy: RoutingStrategy, refused: Mapping[str, str]
) -> str:
    parts = [f"{strategy.name}: {best.told()}."]
    if best.caution:
        parts.append(f"Nothing else is left, though: {best.caution}.")
    parts += [f"Not {item.told()}." for item in ordered[1:]]
    parts += [f"Refused {key}: {reason}." for key, reason in refused.items()]
    return " ".join(parts)
