"""Figures in Prometheus' text format (version 0.0.4): one family after another, labels escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One value and the labels it belongs to."""

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge: its name, what it says, its samples."""

    name: str
    words: str
    samples: Sequence[Sample]


def sample(value: float, **labels: str) -> Sample:
    """A value with labels."""
    return Sample(value, labels)


def text(families: Iterable[Family]) -> str:
    """The families as text; those without samples keep their head, so that an alert may name them."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_words(family.words)}", f"# TYPE {family.name} gauge"]
        lines += [f"{family.name}{_labels(item.labels)} {_number(item.value)}" for item in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_value(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _value(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _words(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")
