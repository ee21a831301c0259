"""The comparison of one case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a real server answered in one case, and what the simulator answers."""

    version: str
    title: str
    expected: Any
    got: Any

    @property
    def differences(self) -> tuple[str, ...]:
        """Where they differ, in words; empty = equal."""
        return tuple(_differences(self.expected, self.got, ""))


def _differences(expected: Any, got: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in {**expected, **got}:
            if key not in got:
                yield f"{path}.{key}: missing, should be {_short(expected[key])}"
            elif key not in expected:
                yield f"{path}.{key}: {_short(got[key])}, should not be there"
            else:
                yield from _differences(expected[key], got[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for place, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif expected != got and not (expected != expected and got != got):  # NaN equals NaN here
        yield f"{path}: {_short(got)}, should be {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "..."
