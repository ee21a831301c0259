"""Whether a job is over after an attempt, or is run again, and when. Pure; the rules of trying again are in `retry`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from comfyops.jobs import endings
from comfyops.jobs.job import JobError, JobState
from comfyops.jobs.retry import BadEnd, Past, judge


@dataclass(frozen=True, slots=True)
class Verdict:
    """The next state of a job; `outcome` and `reason` are kept with the attempt, `delay` is in seconds.

    `signature` is what later bad ends are compared with, "" where it ended well.
    """

    to: JobState
    outcome: str
    reason: str = ""
    error: JobError | None = None
    delay: float = 0.0
    signature: str = ""


def decide(
    end: endings.End, before: Sequence[Past], *, cancelled: bool, backend: str, began: bool, chance: float
) -> Verdict:
    """What follows from the end of an attempt.

    `before` are the attempts that ended badly, first to last; `cancelled` = somebody wants the job stopped: then it is
    never run again, and a success counts no more. `began` = the backend had it; `chance` is random, 0 to 1.
    """
    kind = end["kind"]
    if cancelled or kind == "cancelled":
        return Verdict(JobState.CANCELLED, "cancelled")
    if kind == "done":
        return Verdict(JobState.DONE, "done")
    bad = bad_end(end, backend, began)
    found = judge(bad, before, chance)
    outcome = {"failed": "failed", "refused": "refused"}.get(kind, "lost")
    error = replace(endings.error(end, permanent=not found.again), message=found.reason)
    to = JobState.WAITING if found.again else JobState.FAILED
    return Verdict(to, outcome, found.reason, error, found.delay, bad.signature)


def bad_end(end: endings.End, backend: str, began: bool = True) -> BadEnd:
    """The bad end of an attempt as the rules of `retry` see it."""
    error = endings.error(end, permanent=False)
    status = error.details.get("status")
    return BadEnd(
        error.code,
        error.message,
        error.node,
        error.exception_type,
        status if isinstance(status, int) else 0,
        backend,
        began,
    )
