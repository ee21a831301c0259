"""What a folder of rendered panels holds.

    FOLDER/
      panels/ID.png, ID.json    a picture and its record; together they say whether the panel is done
      render.json               the last run: every panel's state, and the seeds that were drawn
      contact-sheet.png         all pictures on one page
      report.html               the same with prompts, seeds and times

The records beside the pictures decide what is rendered again; render.json is for people and programs that look. Only
the drawn seeds and the key in it are read back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from comfyops.errors import MissingFileError
from comfyops.execution import provenance
from comfyops.execution.provenance import Provenance
from comfyops.storyboard.planning import PanelPlan
from comfyops.support.files import read_bytes, safe_path, write_bytes


class PanelState(StrEnum):
    """What became of a panel."""

    WAITING = "waiting"
    RUNNING = "running"
    RENDERED = "rendered"  # in this run
    KEPT = "kept"  # from an earlier run; nothing changed
    FAILED = "failed"
    NOT_TRIED = "not tried"  # the server or the disk failed before


@dataclass(frozen=True, slots=True)
class PanelEntry:
    """One panel of a run. `picture` is relative to the folder; `error` and `code` say why it failed."""

    id: str
    number: int
    caption: str
    state: PanelState
    picture: str = ""
    seed: int | None = None
    error: str = ""
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RenderRecord:
    """The last run in a folder. Times are seconds since the epoch.

    `key` is random: runs of panels are found by it again at the server, see `keys`.
    """

    project: str
    title: str
    backend: str
    backend_version: str
    simulated: bool
    started_at: float
    finished_at: float
    panels: tuple[PanelEntry, ...]
    drawn_seeds: dict[str, int] = field(default_factory=dict)
    key: str = ""


_ADAPTER = TypeAdapter(RenderRecord)


def read(folder: Path) -> RenderRecord | None:
    """The record of the last run in a folder, None where there is none that can be read."""
    try:
        return _ADAPTER.validate_json(read_bytes(folder / "render.json"))
    except (MissingFileError, ValidationError):
        return None


def write(folder: Path, record: RenderRecord) -> None:
    """Write render.json. Raises StorageError."""
    write_bytes(folder / "render.json", _ADAPTER.dump_json(record, indent=2) + b"\n")


def picture_path(folder: Path, panel_id: str, suffix: str = ".png") -> Path:
    """Where a panel's picture goes."""
    return safe_path(folder / "panels", f"{panel_id}{suffix}")


def kept(folder: Path, plan: PanelPlan, fingerprint: str, *, simulated: bool) -> Provenance | None:
    """The record of a picture that need not be rendered again, None where it must.

    It must where graph or reference pictures differ, the file is gone or altered, or it was only simulated and this
    server is a real one.
    """
    record = provenance.read(picture_path(folder, plan.id, ".json"))
    if record is None or record.fingerprint != fingerprint or (record.simulated and not simulated):
        return None
    picture = safe_path(folder / "panels", record.file)
    return record if provenance.intact(picture, record) else None
