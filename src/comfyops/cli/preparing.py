"""Making a workflow runnable: what it needs is found, shown, fetched, proven and tried, then written into a lock."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops import config
from comfyops.cli import pack_installing, prepare_lines, preparing_packs
from comfyops.cli.commands.launch import planned, show_line
from comfyops.cli.commands.workflow_check import device_of, server_facts
from comfyops.cli.options import settings, wait_for
from comfyops.cli.output import Result, count, say
from comfyops.cli.pack_installing import Ask, PackPlans
from comfyops.cli.running_downloads import brought
from comfyops.config import Settings
from comfyops.deploy.launch import check_port, running
from comfyops.deploy.packs.planning import Tools
from comfyops.deploy.python import ask, find_python
from comfyops.deploy.spec import spec
from comfyops.errors import IntegrityError, LaunchError, MissingFileError, StoryboardError, UsageError
from comfyops.execution import lock_check, workflow_lock
from comfyops.execution.lock_check import Row
from comfyops.execution.preparation import Ground, Preparation, Subject, check_disks, inspect
from comfyops.execution.smoke import SmokeReport, distinct, smoke
from comfyops.execution.workflow_lock import WorkflowLock
from comfyops.models import facts, places, storage
from comfyops.models.catalog import Wanted
from comfyops.models.check import Finding
from comfyops.models.entry import ModelEntry
from comfyops.models.lock import Lock, Pin
from comfyops.models.places import Place
from comfyops.models.provision import Outcome, Provision
from comfyops.storyboard import loading, planning
from comfyops.support.files import read_bytes
from comfyops.workflows import node_types, ui_format
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.readiness import DeviceFacts
from comfyops.workflows.stated import Stated, stated

_STORYBOARDS = (".yaml", ".yml")
_STORYCORE = ("project.json", "storyboard.json")

Reports = tuple[SmokeReport, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for; see the options of the command."""

    workflow: str
    lock: Path | None = None
    yes: bool = False
    dry_run: bool = False
    launch: bool = False
    smoke: bool = True
    timeout: float = 1800.0
    port: int = 8188
    python: Path | None = None
    comfyui_path: str | None = None
    catalog: tuple[Path, ...] = ()
    allow_pickle: bool = False
    server: str | None = None
    token: str | None = None
    api_prefix: str | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Site:
    """Where the workflow is to run: settings of the server, whether there is one, ComfyUI's folder on this machine."""

    settings: Settings
    has_server: bool
    place: Place | None
    version: str = ""


def prepare(wish: Wish) -> Result:
    """Do what `workflow prepare` does.

    Raises what is wrong with the workflow, the server, ComfyUI's folder, a catalog or the lock, and PortInUseError.
    """
    chosen = settings(server=wish.server, token=wish.token, api_prefix=wish.api_prefix)
    site = _site(chosen, wish.server is not None or config.given_server() is not None, wish.comfyui_path)
    if wish.launch and site.place is None:
        raise UsageError("--launch needs the folder of a ComfyUI.", hint="Give it with --comfyui-path.")
    ground, site = _ground(site, wish.python)
    pinned = workflow_lock.load(wish.lock) if wish.lock is not None and wish.lock.is_file() else None
    subject = _subject(wish.workflow, chosen, ground.types)
    provision = _provision(site, pinned, allow_pickle=wish.allow_pickle)
    found = inspect(subject, ground, parts.model_catalog(chosen, wish.catalog), provision)
    root = site.place.root if site.place else None
    ask = Ask(root, wish.python, site.settings.server if site.has_server else None, quiet=wish.quiet)
    found, packs, tools = preparing_packs.planned(found, pinned, ask, chosen)
    say(*prepare_lines.plan(found), *prepare_lines.differing(_differences(pinned, found, site)))
    say(*pack_installing.plan_lines(packs))
    if wish.dry_run or not _agreed(found, packs, yes=wish.yes, quiet=wish.quiet):
        data = {**prepare_lines.data(found), "packs": pack_installing.data(packs), "applied": False}
        notes = prepare_lines.verdict(found, packs=len(packs.to_do), asked=not wish.dry_run)
        good = found.can_run if wish.dry_run else found.has_everything and not packs.to_do
        return Result("workflow prepare", data, (), notes, exit_code=int(not good or bool(packs.refused)))
    if wish.launch:
        wait_for(check_port(spec(port=wish.port)))  # before anything is fetched or installed
    if tools is not None and packs.to_do:
        return _with_packs(wish, site, found, (packs, tools), provision)
    return _done(wish, site, ground, found, provision)


def _with_packs(
    wish: Wish, site: Site, found: Preparation, work: tuple[PackPlans, Tools], provision: Provision | None
) -> Result:
    """Install packs, look again, and go on; a running server sees them when it is started anew."""
    packs, tools = work
    done, failed = wait_for(pack_installing.install(packs.to_do, tools))
    say(*pack_installing.done_lines(done), *pack_installing.refused_lines(failed))
    brought = {
        "packs": pack_installing.data(packs),
        "installed_packs": [pack_installing.pack_data(item) for item in done],
        "failed_packs": failed,
    }
    if failed or (site.has_server and not wish.launch):
        data = {**prepare_lines.data(found), **brought, "applied": True, "ready": False}
        again = "start the server anew, then run this again to go on: its new packs are not loaded yet"
        note = f"{count(len(failed), 'pack')} could not be installed" if failed else again
        return Result("workflow prepare", data, (), [note], exit_code=1)
    ground, site = _ground(replace(site, has_server=False, version=""), wish.python)
    found = inspect(found.subject, ground, parts.model_catalog(site.settings, wish.catalog), provision)
    result = _done(wish, site, ground, found, provision)
    return replace(result, data={**result.data, **brought})


def _done(wish: Wish, site: Site, ground: Ground, found: Preparation, provision: Provision | None) -> Result:
    """Fetch, try, and write the lock."""
    outcomes = _fetched(wish, site, found, provision)
    ready = found.can_run and all(item.ok for item in outcomes)
    reports: Reports = ()
    if ready and wish.smoke and (wish.launch or site.has_server):
        reports = wait_for(_tried(site, found.subject, wish))
    good = ready and all(item.ok for item in reports)
    if good and wish.lock is not None:
        workflow_lock.save(_locked(found, ground, site, provision, outcomes), wish.lock)
    more = {
        "applied": True,
        "ready": ready,
        "outcomes": outcomes,
        "smoke": reports,
        "lock": wish.lock if good else None,
    }
    lines = [*prepare_lines.outcomes(outcomes), *prepare_lines.smoke(reports)]
    notes = prepare_lines.end(ready=ready, reports=reports)
    return Result("workflow prepare", {**prepare_lines.data(found), **more}, lines, notes, exit_code=int(not good))


def _site(chosen: Settings, has_server: bool, comfyui_path: str | None) -> Site:
    given = comfyui_path or chosen.comfyui_path
    if given is not None:
        return Site(chosen, has_server, places.find(str(given)))
    if has_server:
        return Site(chosen, True, None)
    try:
        return Site(chosen, False, places.find())
    except MissingFileError as error:
        hint = "Give its folder with --comfyui-path, or a running one with --server."
        raise MissingFileError(error.message, hint=hint) from error


def _ground(site: Site, python: Path | None) -> tuple[Ground, Site]:
    """What is known of where it is to run: asked of the server, else seen in ComfyUI's folder."""
    if site.has_server:
        said = wait_for(server_facts(site.settings))
        sizes = {(item.folder, item.name): item.size for item in said.models if item.size is not None}
        ground = Ground(said.types, sizes, device_of(said.stats))
        return ground, Site(site.settings, True, site.place, said.stats.version)
    root = site.place.root if site.place else None
    version = workflow_lock.program_in(root).version
    known = version if version in node_types.SHIPPED else node_types.SHIPPED[0]
    packs = frozenset(workflow_lock.pack_folders(root)) if root else frozenset()
    types = NodeTypes(node_types.shipped(known).object_info(), version=known, files_known=False)
    device = wait_for(_device(root, python)) if root else None
    return Ground(types, {}, device, packs), Site(site.settings, False, site.place, version)


async def _device(root: Path, python: Path | None) -> DeviceFacts | None:
    """The GPU that ComfyUI's Python sees; None without one, or where there is no such Python."""
    try:
        found = await ask(find_python(root, python), root, config.environment_of_children())
    except (MissingFileError, LaunchError):
        return None
    if not found.vram_total:
        return None
    return DeviceFacts(found.device_name, found.vram_total, found.vram_free)


def _subject(name: str, chosen: Settings, types: NodeTypes) -> Subject:
    path = Path(name)
    if path.is_dir() or path.suffix.lower() in _STORYBOARDS or path.name in _STORYCORE:
        return _storyboard(path, types)
    opened = parts.open_workflow(name, parts.library(chosen))
    said = stated(ui_format.parse(opened.found.ui)) if opened.found.ui is not None else Stated()
    file = opened.template.path if opened.template else path
    return Subject(opened.name, {opened.name: opened.found.graph(types)}, said, digest([file] if file else []))


def _storyboard(path: Path, types: NodeTypes) -> Subject:
    """The panels' graphs; where the server lacks a model, those for a server that has the usual ones."""
    project = loading.load(path)
    try:
        plans = planning.plan(project, types)
    except StoryboardError:
        unknown = NodeTypes(types.object_info(), version=types.version, files_known=False, folders=types.folders)
        plans = planning.plan(project, unknown)
    graphs = {f"panel {item.id}": item.graph for item in plans}
    if not graphs:
        raise StoryboardError(f"{path} has no panel.")
    folder = path if path.is_dir() else path.parent
    files = [path] if path.suffix.lower() in _STORYBOARDS else [folder / name for name in _STORYCORE]
    return Subject(project.id, graphs, Stated(), digest([file for file in files if file.is_file()]))


def digest(files: Sequence[Path]) -> str:
    """The SHA-256 of files, one after the other. Raises MissingFileError."""
    found = hashlib.sha256()
    for file in files:
        found.update(read_bytes(file))
    return found.hexdigest()


def _provision(site: Site, pinned: WorkflowLock | None, *, allow_pickle: bool) -> Provision | None:
    if site.place is None:
        return None
    provision = parts.model_provision(storage.of_comfyui(site.place), site.settings, allow_pickle=allow_pickle)
    provision.pinned = pinned.models if pinned else Lock()
    return provision


def _differences(pinned: WorkflowLock | None, found: Preparation, site: Site) -> Iterator[Row]:
    if pinned is None:
        return iter(())
    program = workflow_lock.program_in(site.place.root if site.place else None, site.version)
    return lock_check.differences(pinned, found.subject.name, found.subject.sha256, program)


def _agreed(found: Preparation, packs: PackPlans, *, yes: bool, quiet: bool) -> bool:
    """Whether to go on: asked where something is to be fetched or installed and somebody can answer."""
    if yes or not (packs.to_do or (found.plan and found.plan.fetch)):
        return True
    if quiet or not (sys.stdin and sys.stdin.isatty()):
        return False
    return typer.confirm(
        "Fetch these files, and install these packs?" if packs.to_do else "Fetch these files?", err=True
    )


def _fetched(wish: Wish, site: Site, found: Preparation, provision: Provision | None) -> tuple[Outcome, ...]:
    """Fetch as `models download` does: seen, steered and gone on with by `models downloads`."""
    if provision is None or site.place is None or found.plan is None:
        return ()
    check_disks(found.disks)
    place = {"comfyui_path": str(site.place.root.absolute()), "allow_pickle": wish.allow_pickle}
    home = site.settings.home.expanduser()
    return brought(provision, found.plan.fetch, home=home, place=place, quiet=wish.quiet)


async def _tried(site: Site, subject: Subject, wish: Wish) -> Reports:
    """The smoke runs: on the server, or on the ComfyUI of this machine, started for them."""
    if not wish.launch or site.place is None:
        return await _smoked(site.settings, subject, wish)
    plan = await planned(site.place, spec(port=wish.port), wish.python)
    shown = None if wish.quiet else show_line
    async with running(plan, config.environment_of_children(), on_line=shown) as comfyui:
        local = config.override(site.settings, server=comfyui.url, api_prefix="")
        return await _smoked(local, subject, wish)


async def _smoked(chosen: Settings, subject: Subject, wish: Wish) -> Reports:
    """One smoke run for each set of models that the graphs load."""
    reports = []
    async with parts.connect(chosen) as backend:
        for name, graph in distinct(subject.graphs).items():
            if not wish.quiet:
                say(f"smoke run of {escape(name)} on {escape(chosen.server)}")
            reports.append(await smoke(name, graph, backend, timeout=wish.timeout))
    return tuple(reports)


def _locked(
    found: Preparation, ground: Ground, site: Site, provision: Provision | None, done: Sequence[Outcome]
) -> WorkflowLock:
    """The lock of what was found and fetched; pins of an older lock stay as they are.

    Files that nobody has read yet are read, and sources are asked for revisions. Raises IntegrityError.
    """
    root = site.place.root if site.place else None
    findings, known, before = found.findings, Lock(), Lock()
    if provision is not None:
        findings, before = _read(provision, found.findings), provision.pinned
        entries = [*(item.entry for item in findings), *(item.entry for item in done)]
        known = Lock(_revisions(provision, entries))
    pins = workflow_lock.pins_of(findings, done, known)
    return WorkflowLock(
        found.subject.name,
        found.subject.sha256,
        workflow_lock.program_in(root, site.version),
        workflow_lock.packs_of(found.subject.graphs.values(), ground.types, found.subject.stated, root),
        workflow_lock.kept(before, pins),
    )


def _read(provision: Provision, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, with the hash of each file that is there."""
    unread = [Wanted(item.entry) for item in findings if item.good and item.sha256 is None]
    read = {item.entry.id: item for item in provision.check(unread, deep=True)} if unread else {}
    for item in read.values():
        if not item.good:
            words = f"{item.entry.id} is not what it should be: {item.why}."
            raise IntegrityError(words, hint="Run this again: what was found out now is fetched then.", path=item.path)
    return tuple(read.get(item.entry.id, item) for item in findings)


def _revisions(provision: Provision, entries: Sequence[ModelEntry]) -> dict[str, Pin]:
    """What sources say of models now, where they can be asked; what was remembered of them counts first."""
    known = {key: pin for key, pin in provision.remembered.pins.items() if pin.revision}
    unknown = [item for item in entries if item.id not in known and item.urls]
    if provision.web.offline or not unknown:
        return known
    return known | {item.entry.id: item.pin for item in facts.ask(unknown, provision.web) if item.pin}
