"""What a rendering tells while it goes on, and what it was when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comfyops.backends.events import Event
from comfyops.errors import ComfyOpsError
from comfyops.execution.provenance import Provenance
from comfyops.execution.records import PanelState
from comfyops.storyboard.planning import PanelPlan
from comfyops.storyboard.project import Placed, Project


@dataclass(frozen=True, slots=True)
class PanelUpdate:
    """Something happened to a panel: its state, and what the server tells while it runs."""

    panel: str
    state: PanelState
    event: Event | None = None
    message: str = ""


OnUpdate = Callable[[PanelUpdate], None]


@dataclass(frozen=True, slots=True)
class PanelResult:
    """One panel of a finished run. `record` and `picture` are there where it has a picture, `error` where it failed."""

    placed: Placed
    state: PanelState
    plan: PanelPlan | None = None
    record: Provenance | None = None
    picture: Path | None = None
    error: ComfyOpsError | None = None


@dataclass(frozen=True, slots=True)
class RenderReport:
    """A finished run: every panel, and the files that show them. `seconds` is the time it took."""

    project: Project
    folder: Path
    panels: tuple[PanelResult, ...]
    backend: str
    backend_version: str
    simulated: bool
    started_at: float
    seconds: float
    contact_sheet: Path
    html: Path

    @property
    def ok(self) -> bool:
        """Whether every panel has its picture."""
        return all(item.picture for item in self.panels)

    def count(self, state: PanelState) -> int:
        """How many panels are in a state."""
        return sum(item.state is state for item in self.panels)
