"""Packs of custom nodes for commands: what they are had with, what is planned, shown, and done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from comfyops import config
from comfyops.cli.output import say
from comfyops.config import Settings
from comfyops.deploy.packs import installing, manager
from comfyops.deploy.packs.git import Git
from comfyops.deploy.packs.installed import InstalledPack
from comfyops.deploy.packs.planning import How, PackPlan, Tools, plan
from comfyops.deploy.packs.programs import Programs
from comfyops.deploy.packs.registry import Registry
from comfyops.deploy.packs.request import PackRequest
from comfyops.deploy.packs.requirements import PythonPackages
from comfyops.deploy.python import find_python
from comfyops.errors import ComfyOpsError, MissingFileError, NodePackError, UsageError
from comfyops.support.git_folders import without_secrets


@dataclass(frozen=True, slots=True)
class Refused:
    """A pack that nothing here can bring, or that could not be brought, and why."""

    name: str
    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class PackPlans:
    """What is to be done for packs, and those for which nothing can be done."""

    plans: tuple[PackPlan, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def to_do(self) -> tuple[PackPlan, ...]:
        """The packs that are not there as they should be."""
        return tuple(item for item in self.plans if item.how is not How.THERE)


@dataclass(frozen=True, slots=True)
class Ask:
    """Where packs are to go: ComfyUI's folder, its Python, a running server that may have ComfyUI-Manager."""

    root: Path | None
    python: Path | None
    server: str | None
    by: How | None = None
    quiet: bool = False


async def tools_for(ask: Ask, chosen: Settings) -> Tools:
    """What packs can be had with there. Raises UsageError."""
    token = chosen.token.get_secret_value() if chosen.token else None
    shown = None if ask.quiet else _show
    log = chosen.home.expanduser() / "logs" / "nodes.log"
    programs = Programs(config.environment_of_children(), log, shown)
    python = None
    if ask.root is not None:
        try:
            python = PythonPackages(find_python(ask.root, ask.python), programs)
        except MissingFileError:
            if ask.python is not None:
                raise
    found = await manager.find(ask.server, token) if ask.server and ask.by in (None, How.MANAGER) else None
    if ask.by is How.MANAGER and found is None:
        raise UsageError("No server with a ComfyUI-Manager is known.", hint="Give its address with --server.")
    return Tools(ask.root, python, found, Registry(chosen.node_registry, chosen.offline), Git(programs), ask.by)


async def planned(requests: Sequence[PackRequest], tools: Tools) -> PackPlans:
    """What is to be done for packs; one that nothing can bring is refused, and stops no other."""
    plans: list[PackPlan] = []
    refused: list[Refused] = []
    for request in requests:
        try:
            plans.append(await plan(request, tools))
        except NodePackError as error:
            refused.append(_refused(request.name, error))
    return PackPlans(tuple(plans), tuple(refused))


async def install(plans: Iterable[PackPlan], tools: Tools) -> tuple[list[InstalledPack], list[Refused]]:
    """Bring packs; what came, and what did not, which stops no other."""
    done: list[InstalledPack] = []
    failed: list[Refused] = []
    for item in plans:
        try:
            found = await installing.install(item, tools)
            done.append(found or InstalledPack(item.name, Path(), item.version, item.commit, item.url))
        except ComfyOpsError as error:
            failed.append(_refused(item.name, error))
    return done, failed


def plan_lines(plans: PackPlans) -> Iterator[str]:
    """What is to be done, line by line."""
    for item in plans.plans:
        pin = f"commit {item.commit}" if item.commit else f"version {item.version}"
        source = f" of {without_secrets(item.url)}" if item.url else ""
        if item.how is How.THERE:
            yield _row("green", "there", item.name, pin)
            continue
        now = f"; now at {item.before.commit[:12] or item.before.version or '?'}" if item.before else ""
        yield _row("yellow", "install", item.name, f"{pin}{source}, by {item.how}{now}")
    if plans.to_do:
        yield "  [yellow]Packs are programs: they run, and install Python packages, with your rights.[/]"
    yield from refused_lines(plans.refused)


def refused_lines(refused: Iterable[Refused]) -> Iterator[str]:
    """What could not be brought."""
    for item in refused:
        yield _row("red", "missing", item.name, f"{item.message} {item.hint}")


def done_lines(done: Iterable[InstalledPack]) -> Iterator[str]:
    """What came."""
    for item in done:
        yield _row("green", "installed", item.name, item.commit or f"version {item.version}")


def data(plans: PackPlans) -> list[dict[str, Any]]:
    """The plan for programs."""
    return [
        *(
            {"name": item.name, "how": str(item.how), "url": item.url, "commit": item.commit, "version": item.version}
            for item in plans.plans
        ),
        *({"name": i.name, "how": None, "code": i.code, "message": i.message, "hint": i.hint} for i in plans.refused),
    ]


def pack_data(item: InstalledPack) -> dict[str, Any]:
    """A pack for programs."""
    path = item.path if item.path != Path() else None
    return {"name": item.name, "path": path, "version": item.version, "commit": item.commit, "url": item.url}


def _refused(name: str, error: ComfyOpsError) -> Refused:
    return Refused(name, error.code, error.message, error.hint)


def _show(line: str) -> None:
    say(f"[dim]{escape(line)}[/]")


def _row(colour: str, state: str, name: str, words: str) -> str:
    return f"  [{colour}]{escape(state.ljust(9))}[/] pack {escape(name)}  [dim]{escape(' '.join(words.split()))}[/]"
