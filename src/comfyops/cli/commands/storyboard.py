"""`comfyops storyboard`: from a readable file of panels to pictures, a contact sheet and a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops import config
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, chosen_types, settings, wait_for
from comfyops.cli.output import Result, say
from comfyops.cli.progress import rendering
from comfyops.config import Settings
from comfyops.errors import UsageError
from comfyops.execution.records import PanelState
from comfyops.execution.records import read as read_record
from comfyops.execution.render import render as render_project
from comfyops.execution.results import RenderReport
from comfyops.storyboard import loading
from comfyops.storyboard.planning import PanelPlan, plan
from comfyops.storyboard.project import Project
from comfyops.support.files import check_folder, write_text
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.validate import validate as validate_graph

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Render storyboards: panels in, pictures out.")

Board = Annotated[Path, typer.Argument(help="Storyboard file (YAML), or a StoryCore project folder.")]
Folder = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for pictures and report.")]
Parallel = Annotated[int, typer.Option("--parallel", "-p", min=1, max=64, help="Panels in flight at once.")]
Force = Annotated[bool, typer.Option("--force", help="Render unchanged panels too.")]


@dataclass(frozen=True, slots=True)
class PanelCheck:
    """What is known of a panel before it is rendered."""

    panel: str
    family: str
    seed: int
    width: int
    height: int
    models: tuple[str, ...]
    problems: tuple[Problem, ...]


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("storyboard.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    as_json: Json = False,
) -> Result:
    """Write a storyboard to start from, with every field explained."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists already.", hint="Choose another name, or write over it with --force.")
    write_text(path, loading.template())
    notes = [f"render it with: comfyops storyboard render {escape(str(path))}"]
    return Result("storyboard init", {"file": path}, [escape(str(path))], notes)


@app.command()
def validate(
    path: Board,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Say whether every panel could be rendered, on this server if one is given."""
    project = loading.load(path)
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    checks = [_check(item, types) for item in plan(project, types)]
    bad = any(problem.severity is not Severity.WARNING for item in checks for problem in item.problems)
    return Result("storyboard validate", checks, _check_lines(checks), exit_code=1 if bad else 0)


@app.command()
def render(
    path: Board,
    output: Folder = None,
    parallel: Parallel = 2,
    force: Force = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Render the panels that changed, failed or are missing; Ctrl-C cancels what runs, a second run goes on."""
    project = loading.load(path)
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    folder = output or chosen.output / project.id
    check_folder(folder)
    report = wait_for(_render(project, chosen, folder, parallel=parallel, force=force, quiet=as_json))
    return _rendered("storyboard render", report)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="Storyboard file or project folder, or a folder of rendered panels.")],
    as_json: Json = False,
) -> Result:
    """Show a storyboard's panels, or what a rendering made of them."""
    record = read_record(path) if path.is_dir() else None
    if record is not None:
        lines = (f"{escape(item.id)}  {item.state}  seed {item.seed}  {escape(item.picture)}" for item in record.panels)
        return Result(
            "storyboard show", record, lines, [f"{escape(record.title)}, rendered on {escape(record.backend)}"]
        )
    project = loading.load(path)
    return Result("storyboard show", project, _project_lines(project))


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for pictures and report.")] = Path(
        "demo-output"
    ),
    parallel: Parallel = 2,
    force: Force = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Render the four-panel demo: on the configured server, or without one on the embedded simulator."""
    given = config.given_server() if server is None else server
    chosen = settings(server=given, token=token, api_prefix=api_prefix)
    project = loading.demo()
    check_folder(output)
    report = wait_for(
        _render(project, chosen, output, parallel=parallel, force=force, quiet=as_json, simulate=given is None)
    )
    return _rendered("storyboard demo", report)


async def _render(
    project: Project, chosen: Settings, folder: Path, *, parallel: int, force: bool, quiet: bool, simulate: bool = False
) -> RenderReport:
    async with AsyncExitStack() as stack:
        if simulate:
            from comfyops.simulator import Simulator, SimulatorSettings

            simulator = await stack.enter_async_context(
                Simulator(SimulatorSettings(port=0, seconds_per_step=0.02, model_load_seconds=0.3, previews=True))
            )
            chosen = config.override(chosen, server=simulator.url, api_prefix="")
            say("no server is given: rendering on the embedded simulator (the pictures are drawn, not generated)")
        backend = await stack.enter_async_context(parts.connect(chosen))
        panels = sum(1 for _ in project.panels())
        with rendering(panels, quiet=quiet) as show_update:
            return await render_project(project, backend, folder, parallel=parallel, force=force, on_update=show_update)


def _check(item: PanelPlan, types: NodeTypes) -> PanelCheck:
    problems = validate_graph(item.graph, types)
    picture = item.picture
    return PanelCheck(
        item.id, item.family.name, picture.seed, picture.size.width, picture.size.height, item.models, problems
    )


def _check_lines(checks: list[PanelCheck]) -> Iterator[str]:
    for item in checks:
        serious = [problem for problem in item.problems if problem.severity is not Severity.WARNING]
        verdict = "[red]invalid[/]" if serious else "[green]valid[/]"
        yield f"{item.panel}: {verdict}  {item.family}  {item.width}x{item.height}  seed {item.seed}"
        yield from (f"  [dim]{escape(model)}[/]" for model in item.models)
        for problem in item.problems:
            yield f"  {problem.severity} {escape(problem.message)}"


def _project_lines(project: Project) -> Iterator[str]:
    yield f"[bold]{escape(project.title)}[/]  [dim]{escape(project.id)}[/]"
    for placed in project.panels():
        yield f"  {escape(placed.panel.id)}  {escape(placed.panel.prompt)}"


def _rendered(command: str, report: RenderReport) -> Result:
    panels: list[dict[str, Any]] = [
        {
            "panel": item.placed.panel.id,
            "state": item.state,
            "picture": item.picture,
            "seed": item.plan.picture.seed if item.plan else None,
            "error": None if item.error is None else {"code": item.error.code, "message": item.error.message},
        }
        for item in report.panels
    ]
    data = {
        "folder": report.folder,
        "contact_sheet": report.contact_sheet,
        "report": report.html,
        "backend": report.backend,
        "simulated": report.simulated,
        "seconds": report.seconds,
        "panels": panels,
    }
    made, kept = report.count(PanelState.RENDERED), report.count(PanelState.KEPT)
    failed = len(report.panels) - made - kept
    notes = [f"{made} rendered, {kept} unchanged, {failed} failed, in {report.seconds:.1f} s"]
    lines = [f"contact sheet: {escape(str(report.contact_sheet))}", f"report:        {escape(str(report.html))}"]
    return Result(command, data, lines, notes, exit_code=0 if report.ok else 1)
