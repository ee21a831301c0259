"""What is to be fetched: decided from what was found, nothing done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from comfyops.models.check import Finding, State
from comfyops.models.entry import ModelEntry

_TO_FETCH = frozenset({State.MISSING, State.MISPLACED, State.WRONG_SIZE, State.CORRUPT, State.CHANGED})


@dataclass(frozen=True, slots=True)
class Item:
    """One file to fetch. `entry` holds what is promised of it, `state` why it is fetched, `target` where it goes."""

    entry: ModelEntry
    target: str
    state: State


@dataclass(frozen=True, slots=True)
class Blocked:
    """A model that cannot be fetched, with the reason's code, sentence and hint."""

    entry: ModelEntry
    required: bool
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Plan:
    """`fetch` is to be had, `good` is there, `optional` was not asked for, `blocked` cannot be had."""

    fetch: tuple[Item, ...]
    good: tuple[Finding, ...] = ()
    optional: tuple[Finding, ...] = ()
    blocked: tuple[Blocked, ...] = ()

    @property
    def total(self) -> int:
        """Bytes to fetch, of the files whose size is known."""
        return sum(item.entry.size or 0 for item in self.fetch)

    @property
    def unknown(self) -> int:
        """How many files' sizes are not known."""
        return sum(item.entry.size is None for item in self.fetch)


def wanted(findings: Iterable[Finding], *, force: bool = False) -> tuple[Finding, ...]:
    """Those of the findings to do something about: required ones that are not good, and wrong ones.

    With `force` those too that are there but could not be proven to be the right bytes.
    """
    return tuple(
        item
        for item in findings
        if (item.bad and item.state in _TO_FETCH) or (force and item.required and item.state is State.PRESENT)
    )


def planned(
    findings: Iterable[Finding],
    targets: Mapping[str, str],
    known: Mapping[str, ModelEntry],
    blocked: Iterable[Blocked] = (),
    *,
    force: bool = False,
) -> Plan:
    """The plan for findings: `targets` and `known` (entries with what their sources said) are by the models' ids."""
    findings = tuple(findings)
    stopped = {item.entry.id: item for item in blocked}
    chosen = [item for item in wanted(findings, force=force) if item.entry.id not in stopped]
    fetch = tuple(Item(known.get(item.entry.id, item.entry), targets[item.entry.id], item.state) for item in chosen)
    taken = {item.entry.id for item in chosen} | set(stopped)
    rest = [item for item in findings if item.entry.id not in taken]
    return Plan(
        fetch,
        good=tuple(item for item in rest if item.good),
        optional=tuple(item for item in rest if not item.good),
        blocked=tuple(stopped.values()),
    )
