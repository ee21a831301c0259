"""Whether a job that ended badly is run again, when, and where not. Pure: no input or output, no clock, no chance.

permanent   the server refuses the graph; the same node failed before in the same way; too many attempts;
            poison: servers went down under it again and again
memory      a device ran out of memory: elsewhere, a few times
transient   the server was lost, forgot the run, stalled, answered 5xx: elsewhere, after a pause that doubles
patient     our own disk or database, or a server that was gone before the job began there: later, with much
            patience, since the job cannot be blamed
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What kind of bad end it was."""

    GRAPH = "graph"  # another attempt must end the same way
    NODE = "node"  # a node failed
    MEMORY = "memory"
    SERVER = "server"  # it went away, forgot, hangs
    AWAY = "away"  # it could not be asked before the job began there
    LOCAL = "local"  # disk or database of ours


@dataclass(frozen=True, slots=True)
class BadEnd:
    """How an attempt ended that did not succeed. `code` is an error's code, `status` that of an HTTP answer (0 = none).

    `node` and `exception_type` are those of a node that failed. `began` = the server had the job.
    """

    code: str
    message: str = ""
    node: str = ""
    exception_type: str = ""
    status: int = 0
    backend: str = ""
    began: bool = True

    @property
    def cause(self) -> Cause:
        """What kind of bad end it was."""
        if self.code in _LOCAL:
            return Cause.LOCAL
        if self.code in _GRAPH or (self.code == "rejected" and not _is_trouble(self.status)):
            return Cause.GRAPH
        if self.code == "run_failed":
            memory = _MEMORY.search(self.exception_type) or _MEMORY.search(self.message)
            return Cause.MEMORY if memory else Cause.NODE
        return Cause.SERVER if self.began else Cause.AWAY

    @property
    def signature(self) -> str:
        """A text that ends of the same kind have in common; `Past.cause` reads it back."""
        return f"{self.cause}|{self.node}|{self.exception_type or self.code}"


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier attempt that ended badly: where, and the signature of its end."""

    backend: str
    signature: str

    @property
    def cause(self) -> str:
        """What kind of bad end it was, "" where the signature does not say."""
        return self.signature.partition("|")[0]


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often a job is tried, and the pauses between, in seconds."""

    attempts: int = 8  # that may end badly, those of `patience` not counted
    memory: int = 3  # that may run out of memory
    poison: int = 3  # servers that may go away under a job
    patience: int = 100  # for trouble that is not the job's
    first_pause: float = 1.0
    longest_pause: float = 300.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows. `again` = run it once more, after `delay` seconds, rather not at the backends of `avoid`."""

    again: bool
    reason: str
    delay: float = 0.0
    avoid: tuple[str, ...] = ()


def judge(end: BadEnd, before: Sequence[Past], chance: float, rules: RetryRules | None = None) -> Judgement:
    """What follows from a bad end. `before` are the earlier ones, first to last; `chance` is random, 0 to 1.

    The pause is the doubled one times a half to one by chance, so that the jobs of a lost server do not come back all
    at once.
    """
    rules = rules or RetryRules()
    final = _final(end, before, rules)
    if final:
        return Judgement(False, final)
    same = sum(1 for past in before if (past.cause in _PATIENT) == (end.cause in _PATIENT))
    pause = min(rules.first_pause * 2 ** min(same, 30), rules.longest_pause)
    avoid = () if end.cause is Cause.LOCAL or not end.backend else (end.backend,)
    return Judgement(True, end.message or _words(end), pause * (0.5 + 0.5 * chance), avoid)


def _final(end: BadEnd, before: Sequence[Past], rules: RetryRules) -> str:
    """Why there is no further attempt, "" where there is one."""
    cause, words = end.cause, end.message or _words(end)
    alike = [past for past in before if past.cause == cause]
    if cause is Cause.GRAPH:
        return words
    if cause in _PATIENT:
        return f"{len(alike) + 1} attempts could not begin or end: {words}" if len(alike) + 1 >= rules.patience else ""
    if cause is Cause.NODE and any(past.signature == end.signature for past in alike):
        return f"The same node failed in the same way in two attempts. {words}"
    if cause is Cause.MEMORY and len(alike) + 1 >= rules.memory:
        return f"{len(alike) + 1} attempts ran out of memory. {words}"
    if cause is Cause.SERVER and _fatal(end) and _killed(before) + 1 >= rules.poison:
        return f"{_killed(before) + 1} times a server went away while this job ran, so it is not tried on more. {words}"
    counted = [past for past in before if past.cause not in _PATIENT]
    return f"{len(counted) + 1} attempts ended badly. {words}" if len(counted) + 1 >= rules.attempts else ""


def _killed(before: Sequence[Past]) -> int:
    """How many servers went away or hung under the job."""
    return sum(1 for past in before if past.cause == Cause.SERVER and past.signature.rpartition("|")[2] in _FATAL)


def _fatal(end: BadEnd) -> bool:
    return end.code in _FATAL


def _is_trouble(status: int) -> bool:
    """Whether an HTTP status means trouble that may pass."""
    return status >= 500 or status in (408, 425, 429)


def _words(end: BadEnd) -> str:
    return f"It ended with {end.code}."


_PATIENT = frozenset({Cause.LOCAL, Cause.AWAY})
_LOCAL = frozenset({"storage", "disk_full", "not_writable", "database"})
_GRAPH = frozenset({"dependency", "file_missing", "unsafe_name", "usage", "workflow_format", "workflow_invalid"})
_FATAL = frozenset({"backend_stalled", "backend_unreachable", "run_lost"})
_MEMORY = re.compile(r"out ?of ?memory|allocation on device|cudamalloc failed|mps backend out", re.IGNORECASE)
