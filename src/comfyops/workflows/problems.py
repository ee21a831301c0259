"""What is wrong with a workflow, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"  # a server refuses the workflow, or drops an output
    DANGER = "danger"  # a server accepts it and then breaks on it
    WARNING = "warning"  # it runs, but probably not as meant


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: which node and input ("" = the workflow, the whole node), a stable code, one sentence.

    `suggestions` are the nearest valid values, best first.
    """

    node: str
    input: str
    code: str
    severity: Severity
    message: str
    suggestions: tuple[str, ...] = ()
