"""What was the matter with each model at the last look, kept in a file: so that a change is told once.

On disk, one file for each models folder, in `health/` of the home folder:

    {"schema": "model-health/1", "root": ..., "began": ..., "finished": ..., "models":
     {ID: {"trouble": "", "state": "verified", "since": ..., "checked": ..., "sha256": ...}},
     "waiting": [{"id": ..., "body": ..., "attempts": 1, "due": ...}]}

Times are seconds since 1970. `began` is that of a round that has not ended; `waiting` are messages that their receiver
does not have yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from comfyops.models.check import Finding, State
from comfyops.support.files import write_text

SCHEMA = "model-health/1"

Trouble = Literal["", "missing", "changed", "corrupt"]
Kind = Literal["missing", "changed", "corrupt", "mended"]

_TROUBLES: Mapping[State, Trouble] = {
    State.MISSING: "missing",
    State.MISPLACED: "missing",
    State.CHANGED: "changed",
    State.WRONG_SIZE: "corrupt",
    State.CORRUPT: "corrupt",
    State.UNREADABLE: "corrupt",
}


@dataclass(frozen=True, slots=True)
class Known:
    """One model as it was: its trouble ("" = none), the exact state, since when, and when it was looked at last.

    `sha256` is that of its bytes when they were read last, None where they never were.
    """

    trouble: Trouble
    state: str
    since: float
    checked: float
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A model has got into trouble, into another one, or out of it; or its bytes are others, and any may be right."""

    model: str
    kind: Kind
    state: str
    path: str
    why: str

    @property
    def words(self) -> str:
        """One line about it."""
        why = f": {self.why}" if self.why else ""
        gone = self.state == State.MISSING.value
        mended = "gone, and is not required" if gone else "right again"
        return f"{self.model} is {mended if self.kind == 'mended' else self.kind}{why}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that its receiver does not have yet: how often it was tried, and when it is tried again."""

    id: str
    body: str
    attempts: int = 0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """Everything that is remembered of one models folder."""

    root: str
    models: Mapping[str, Known] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()
    began: float | None = None
    finished: float | None = None

    def seen(self, findings: Iterable[Finding], now: float) -> tuple[HealthRecord, tuple[Change, ...]]:
        """The record after a look, and what has changed since the one before."""
        models = dict(self.models)
        changes = []
        for item in findings:
            before = models.get(item.entry.id)
            models[item.entry.id] = _known(before, item, now)
            change = _change(before, item)
            if change is not None:
                changes.append(change)
        return replace(self, models=models), tuple(changes)

    def only(self, models: Iterable[str]) -> HealthRecord:
        """Without the models that nobody asks about any more."""
        kept = set(models)
        return replace(self, models={name: item for name, item in self.models.items() if name in kept})


def trouble_of(finding: Finding) -> Trouble:
    """The trouble of a model; an optional one that is not there is none."""
    return _TROUBLES.get(finding.state, "") if finding.bad else ""


def file_of(home: Path, root: Path) -> Path:
    """Where the record of a models folder is kept."""
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:12]
    return home.expanduser() / "health" / f"models-{name}.json"


def load(file: Path, root: Path) -> HealthRecord:
    """The record in a file; an empty one where it is not there or is not what it should be."""
    try:
        data = json.loads(file.read_bytes())
        if data["schema"] != SCHEMA:
            raise ValueError(data["schema"])
        models = {str(name): Known(**item) for name, item in data["models"].items()}
        waiting = tuple(Waiting(**item) for item in data["waiting"])
        return HealthRecord(str(root), models, waiting, data["began"], data["finished"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return HealthRecord(str(root))


def save(record: HealthRecord, file: Path) -> None:
    """Write the record, whole or not at all. Raises StorageError."""
    write_text(file, json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1))


def _known(before: Known | None, item: Finding, now: float) -> Known:
    trouble = trouble_of(item)
    since = before.since if before is not None and before.trouble == trouble else now
    return Known(trouble, item.state.value, since, now, item.sha256 or (before.sha256 if before is not None else None))


def _change(before: Known | None, item: Finding) -> Change | None:
    trouble = trouble_of(item)
    was = before.trouble if before is not None else ""
    if trouble == was:
        return _other_bytes(before, item)
    return Change(item.entry.id, trouble or "mended", item.state.value, item.path, item.why)


def _other_bytes(before: Known | None, item: Finding) -> Change | None:
    """A file is there as before, with other bytes, and nobody has promised which are right: told, and no trouble."""
    if before is None or not item.good or item.entry.sha256 or None in (before.sha256, item.sha256):
        return None
    if before.sha256 == item.sha256:
        return None
    why = "its bytes are others than when they were read last, and nobody has promised which are right"
    return Change(item.entry.id, "changed", item.state.value, item.path, why)
