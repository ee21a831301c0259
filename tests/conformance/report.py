"""Replays everything and counts: cases, equal ones, different ones, and why."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.conformance import breaking, scenarios
from tests.conformance.known import NOT_REPLAYED, reason
from tests.conformance.outcome import Outcome
from tests.conformance.requests import replay
from tests.conformance.trim import DATA, REQUESTS

VERSIONS = ("0.33.0", "0.8.0")
STORIES = {**scenarios.STORIES, **breaking.STORIES}


@dataclass
class Tally:
    """The result of one recording."""

    version: str
    name: str
    cases: int = 0
    equal: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one case."""
        self.cases += 1
        self.equal += not outcome.differences
        why = {reason(outcome, difference) or "" for difference in outcome.differences}
        self.reasons.update(sorted(why - {""}))
        self.unexplained += [
            f"{self.version} {self.name}: {outcome.title}{difference}"
            for difference in outcome.differences
            if reason(outcome, difference) is None
        ]


def recordings(version: str) -> dict[str, Any]:
    """All recordings of a version, by name."""
    data: dict[str, Any] = json.loads(gzip.decompress((DATA / f"{version}.json.gz").read_bytes()))
    return data


def names(version: str) -> list[str]:
    """The recordings of a version that are replayed."""
    return list(recordings(version))


async def tally(version: str, name: str) -> Tally:
    """Replay one recording."""
    result = Tally(version, name)
    async for outcome in _outcomes(version, name, recordings(version)[name]):
        result.add(outcome)
    return result


def _outcomes(version: str, name: str, data: Any) -> AsyncIterator[Outcome]:
    if name in {part.rpartition("/")[2] for part in REQUESTS[version]} and name not in STORIES:
        return replay(version, name, data)
    return STORIES[name](version, data)


def table(tallies: list[Tally]) -> str:
    """The report as text."""
    lines = [f"{'ComfyUI':8} {'recording':40} {'cases':>5} {'equal':>5} {'differ':>6}  why"]
    for each in tallies:
        why = "; ".join(f"{text} ({count})" for text, count in each.reasons.items())
        why += " UNEXPLAINED" if each.unexplained else ""
        lines.append(
            f"{each.version:8} {each.name:40} {each.cases:5} {each.equal:5} {each.cases - each.equal:6}  {why}"
        )
    cases, equal = sum(each.cases for each in tallies), sum(each.equal for each in tallies)
    lines.append(f"{'':8} {'all':40} {cases:5} {equal:5} {cases - equal:6}")
    lines += ["", "not replayed:", *(f"  {names}: {why}" for names, why in NOT_REPLAYED.items())]
    return "\n".join(lines)
