"""Whether a job is over after an attempt, or is run again, and when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comfyops.jobs import endings
from comfyops.jobs.job import JobError, JobState

MAX_FAILURES = 8
"""Attempts that may end badly, for whatever reason, before a job fails."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # seconds before an attempt follows another; doubled each time
_OUT_OF_MEMORY = ("OutOfMemory", "out of memory", "Allocation on device")
_BAD_REQUEST = frozenset(["dependency", "usage", "workflow_format", "unsafe_name", "file_missing"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """The next state of a job; `outcome` and `reason` are kept with the attempt, `delay` is in seconds."""

    to: JobState
    outcome: str
    reason: str = ""
    error: JobError | None = None
    delay: float = 0.0


def decide(end: endings.End, failures: int, cancelled: bool, before: Sequence[str]) -> Verdict:
    """What follows from the end of an attempt.

    `failures` attempts ended badly before it, `before` are the signatures of those in which a node failed, `cancelled`
    = somebody wants the job stopped: then it is never run again, and a success counts no more.
    """
    kind = end["kind"]
    if cancelled or kind == "cancelled":
        return Verdict(JobState.CANCELLED, "cancelled")
    if kind == "done":
        return Verdict(JobState.DONE, "done")
    error = endings.error(end, permanent=True)
    outcome = {"failed": "failed", "refused": "refused"}.get(kind, "lost")
    if kind == "refused" or error.code in _BAD_REQUEST:
        return Verdict(JobState.FAILED, outcome, error.message, error)
    memory = _out_of_memory(error)
    if kind == "failed" and not memory and endings.signature(end) in before:
        return Verdict(JobState.FAILED, outcome, error.message, error)
    if failures + 1 >= MAX_FAILURES:
        return Verdict(JobState.FAILED, outcome, f"{failures + 1} attempts ended badly: {error.message}", error)
    pause = min(_FIRST_PAUSE * 2**failures, _LONGEST_PAUSE)
    return Verdict(JobState.WAITING, outcome, error.message, endings.error(end, permanent=False), pause)


def _out_of_memory(error: JobError) -> bool:
    return any(words in error.exception_type or words in error.message for words in _OUT_OF_MEMORY)
