"""Rendering a storyboard: every panel that changed or is missing, several at once, each on its own.

A panel that fails does not stop the others; a server that is gone or a full disk does. What is done is done: a second
run renders only the rest.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from comfyops.backends.backend import Backend, SystemStats
from comfyops.backends.events import Event
from comfyops.errors import (
    ComfyOpsError,
    LoginRequiredError,
    NotComfyUIError,
    StalledError,
    StorageError,
    UnreachableError,
    UsageError,
)
from comfyops.execution import records
from comfyops.execution.contact_sheet import write_contact_sheet
from comfyops.execution.panel import PanelRenderer
from comfyops.execution.records import PanelEntry, PanelState, RenderRecord
from comfyops.execution.report import write_report
from comfyops.execution.results import OnUpdate, PanelResult, PanelUpdate, RenderReport
from comfyops.storyboard.planning import PanelPlan, plan_panel
from comfyops.storyboard.project import DRAW, Placed, Project
from comfyops.workflows.node_types import NodeTypes

_ENDS_ALL = (UnreachableError, StalledError, LoginRequiredError, NotComfyUIError, StorageError)
"""Errors after which no other panel can do better."""


async def render(
    project: Project,
    backend: Backend,
    folder: Path,
    *,
    parallel: int = 2,
    force: bool = False,
    on_update: OnUpdate | None = None,
) -> RenderReport:
    """Render a storyboard into a folder, `parallel` panels in flight at once; `force` renders the unchanged too.

    Writes contact-sheet.png, report.html and render.json there. Being cancelled cancels what was started on the server.
    Raises StoryboardError where the server can render no panel at all, BackendError where it does not answer,
    UsageError, StorageError; any other failure is in the report.
    """
    if parallel < 1:
        raise UsageError("At least one panel must be in flight.")
    session = await _open(project, backend, folder, on_update or _ignore, force)
    await asyncio.to_thread(session.save_record)
    queue = asyncio.Queue[Placed]()
    for placed in project.panels():
        queue.put_nowait(placed)
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(parallel, len(session.results))):
                tasks.create_task(_work(session, queue, force))
    finally:
        await asyncio.to_thread(session.save_record)
    report = session.report()
    await asyncio.to_thread(_show, report)
    return report


@dataclass
class _Session:
    """One run under way."""

    project: Project
    folder: Path
    renderer: PanelRenderer
    results: dict[str, PanelResult]
    tell: OnUpdate
    drawn: dict[str, int]
    key: str
    started_at: float = field(default_factory=time.time)
    fatal: ComfyOpsError | None = None

    def update(self, result: PanelResult, message: str = "") -> None:
        """Note what became of a panel and tell it."""
        self.results[result.placed.panel.id] = result
        self.tell(PanelUpdate(result.placed.panel.id, result.state, message=message))

    def report(self) -> RenderReport:
        """The run as it stands."""
        server = self.renderer
        return RenderReport(
            project=self.project,
            folder=self.folder,
            panels=tuple(self.results.values()),
            backend=server.url,
            backend_version=server.version,
            simulated=server.simulated,
            started_at=self.started_at,
            seconds=time.time() - self.started_at,
            contact_sheet=self.folder / "contact-sheet.png",
            html=self.folder / "report.html",
        )

    def save_record(self) -> None:
        """Write render.json."""
        server = self.renderer
        record = RenderRecord(
            project=self.project.id,
            title=self.project.title,
            backend=server.url,
            backend_version=server.version,
            simulated=server.simulated,
            started_at=self.started_at,
            finished_at=time.time(),
            panels=tuple(_entry(result, self.folder) for result in self.results.values()),
            drawn_seeds=self.drawn,
            key=self.key,
        )
        records.write(self.folder, record)


async def _open(project: Project, backend: Backend, folder: Path, tell: OnUpdate, force: bool) -> _Session:
    types, stats = await asyncio.gather(backend.node_types(), backend.system_stats())
    earlier = records.read(folder)
    drawn = dict(earlier.drawn_seeds) if earlier and earlier.project == project.id else {}
    key = earlier.key if earlier and earlier.project == project.id and not force else ""
    key = key or secrets.token_hex(16)
    results = _planned(project, types, drawn)
    seeds = {key: item.plan.picture.seed for key, item in results.items() if item.plan and _draws(item.placed)}
    renderer = PanelRenderer(project, backend, folder, types, stats.version, key, simulated=is_simulator(stats))
    return _Session(project, folder, renderer, results, tell, {**drawn, **seeds}, key)


def is_simulator(stats: SystemStats) -> bool:
    """Whether a server says of itself that it is our simulator."""
    return any("simulat" in device.name.lower() for device in stats.devices)


def _planned(project: Project, types: NodeTypes, drawn: dict[str, int]) -> dict[str, PanelResult]:
    """Every panel, planned or failed. Raises the first panel's error where none can be rendered."""
    results: dict[str, PanelResult] = {}
    for placed in project.panels():
        try:
            plan = plan_panel(project, placed, types, drawn)
            results[placed.panel.id] = PanelResult(placed, PanelState.WAITING, plan)
        except ComfyOpsError as error:
            results[placed.panel.id] = PanelResult(placed, PanelState.FAILED, error=error)
    errors = [item.error for item in results.values() if item.error]
    if len(errors) == len(results):
        raise errors[0]
    return results


def _draws(placed: Placed) -> bool:
    return placed.panel.seed == DRAW


async def _work(session: _Session, queue: asyncio.Queue[Placed], force: bool) -> None:
    """Take panels until none is left."""
    while not queue.empty():
        result = session.results[queue.get_nowait().panel.id]
        if result.plan is None:
            session.update(result, result.error.message if result.error else "")
        elif session.fatal:
            session.update(replace(result, state=PanelState.NOT_TRIED, error=session.fatal))
        else:
            await _render_one(session, result, result.plan, force)


async def _render_one(session: _Session, result: PanelResult, plan: PanelPlan, force: bool) -> None:
    session.update(replace(result, state=PanelState.RUNNING))

    def tell(event: Event) -> None:
        session.tell(PanelUpdate(plan.id, PanelState.RUNNING, event))

    try:
        record, state = await session.renderer.render(plan, force=force, on_event=tell)
    except ComfyOpsError as error:
        if isinstance(error, _ENDS_ALL):
            session.fatal = error
        session.update(replace(result, state=PanelState.FAILED, error=error), error.message)
        return
    except asyncio.CancelledError:
        session.update(result)
        raise
    picture = session.folder / "panels" / record.file
    session.update(replace(result, state=state, record=record, picture=picture))


def _show(report: RenderReport) -> None:
    write_contact_sheet(report.contact_sheet, report)
    write_report(report.html, report)


def _entry(result: PanelResult, folder: Path) -> PanelEntry:
    panel, error = result.placed.panel, result.error
    return PanelEntry(
        id=panel.id,
        number=result.placed.number,
        caption=panel.caption,
        state=result.state,
        picture=result.picture.relative_to(folder).as_posix() if result.picture else "",
        seed=result.plan.picture.seed if result.plan else None,
        error=error.message if error else "",
        code=error.code if error else "",
        hint=error.hint if error else "",
    )


def _ignore(update: PanelUpdate) -> None:
    """Nobody wants to know."""
