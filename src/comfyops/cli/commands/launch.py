"""`comfyops launch`: the ComfyUI of this machine with its models, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops import config
from comfyops.cli.model_options import ComfyUIPath, choice, opened
from comfyops.cli.options import Json, settings, wait_for
from comfyops.cli.output import Result, count, emit, failed, in_words, say
from comfyops.cli.running_downloads import brought
from comfyops.deploy.launch import START_SECONDS, LaunchPlan, Running, check_port, free_port, running
from comfyops.deploy.model_folders import storage_of
from comfyops.deploy.origins import door
from comfyops.deploy.python import ask, find_python
from comfyops.deploy.spec import LOOPBACK, LaunchSpec, behind_door, spec
from comfyops.errors import LaunchError, ModelError
from comfyops.models import places
from comfyops.models.places import Place
from comfyops.support.processes import OnLine

app = typer.Typer(add_completion=False)

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Python = Annotated[
    Path | None, typer.Option("--python", help="Python (or its environment) to run ComfyUI with, if not its own.")
]


@app.command()
def launch(
    extra: Annotated[list[str] | None, typer.Argument(help="After --: further arguments for ComfyUI.")] = None,
    comfyui_path: ComfyUIPath = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8188,
    listen: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = LOOPBACK,
    cors: Annotated[
        list[str] | None, typer.Option("--cors", help="Origin whose pages may call it; may be repeated. * is all.")
    ] = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Neither check nor fetch models first.")] = False,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Models to have: a set's or an official template's name.")
    ] = None,
    python: Python = None,
    start_timeout: Annotated[float, typer.Option(min=1, help="Seconds until ComfyUI must answer.")] = START_SECONDS,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing of ComfyUI's own output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be started, and start nothing.")] = False,
    as_json: Json = False,
) -> Result | None:
    """Check and fetch the required models, then run ComfyUI with its own Python until Ctrl-C.

    Without a GPU that its Python sees, ComfyUI computes on the processor (--cpu).
    """
    place = places.find(comfyui_path or settings().comfyui_path)
    wanted = spec(listen, port, cors or [], extra or [])
    plan = wait_for(planned(place, wanted, python))
    if dry_run:
        return Result("launch", described(plan), [escape(shlex.join(plan.command))], [_device(plan)])
    wait_for(check_port(wanted))
    if not no_models:
        have_models(place, group, wanted.extra, quiet=quiet or as_json)
    wait_for(_serve(plan, start_timeout, quiet=quiet or as_json, as_json=as_json))
    return None


def have_models(place: Place, groups: list[str] | None, extra: Sequence[str], *, quiet: bool) -> None:
    """Fetch the required models of these groups that are missing or wrong; optional ones are left as they are.

    They lie where a ComfyUI with these arguments looks. Raises ModelError where a required one cannot be had,
    NotWritableError, DiskFullError, UnknownModelError, and what `storage_of` raises.
    """
    session = opened(str(place.root), None)
    provision = parts.model_provision(storage_of(place, extra), session.settings)
    wanted = [item for item in session.wanted(choice(None, None, groups)) if item.required]
    findings = provision.check(wanted)
    made = provision.plan(findings, ask=not session.settings.offline)
    bad = [(item.entry.id, item.message, item.hint) for item in made.blocked]
    if made.fetch and not bad:
        words = f"{count(len(made.fetch), 'required model')} to fetch first, {in_words(made.total)}"
        say(f"{words}, into {escape(str(provision.storage.root))} (--no-models starts without)")
        home, where = session.settings.home.expanduser(), {"comfyui_path": str(place.root.absolute())}
        outcomes = brought(provision, made.fetch, home=home, place=where, quiet=quiet)
        bad = [(item.entry.id, item.message, item.hint) for item in outcomes if not item.ok]
    if bad:
        name, message, hint = bad[0]
        words = f"{count(len(bad), 'required model')} cannot be had. {name}: {message}"
        hint = f"{hint} Or start without: --no-models.".strip()
        raise ModelError(words, hint=hint, models=[item[0] for item in bad])
    say(f"{count(len(findings), 'required model')} there")


async def planned(place: Place, wanted: LaunchSpec, python: Path | None) -> LaunchPlan:
    """What would be started: ComfyUI's Python is found and asked what it sees.

    Raises MissingFileError, LaunchError.
    """
    facts = await ask(find_python(place.root, python), place.root, config.environment_of_children())
    log = settings().home.expanduser() / "logs" / f"comfyui-{wanted.port}.log"
    return LaunchPlan(place.root, facts, wanted, log)


def described(plan: LaunchPlan) -> dict[str, object]:
    """A plan as data."""
    return {
        "url": plan.spec.url,
        "origins": plan.spec.origins,
        "comfyui_path": plan.root,
        "command": plan.command,
        "python": plan.python,
        "log": plan.log,
        "open_to_others": plan.spec.is_open,
    }


def show_line(line: str) -> None:
    """Print a line of ComfyUI's own output, on stderr."""
    say(f"[dim]{escape(_COLOURS.sub('', line))}[/]")


async def _serve(plan: LaunchPlan, start_timeout: float, *, quiet: bool, as_json: bool) -> None:
    say(_device(plan))
    if plan.spec.is_open:
        say("[yellow]other machines can reach it, and it asks nobody who they are[/]")
    environment = config.environment_of_children()
    shown = None if quiet else show_line
    async with _running(plan, environment, shown, start_timeout) as comfyui:
        if as_json:
            data = {**described(plan), "version": comfyui.version, "pid": comfyui.process.pid}
            emit(Result("launch", data), as_json=True)
        url = plan.spec.url
        say(f"ComfyUI {comfyui.version} answers at {url} after {comfyui.seconds:.1f} s (stop it with Ctrl-C)")
        await _until_stopped(comfyui, as_json=as_json)
    say("ComfyUI has stopped")


@contextlib.asynccontextmanager
async def _running(
    plan: LaunchPlan, environment: Mapping[str, str], shown: OnLine | None, start_timeout: float
) -> AsyncIterator[Running]:
    """ComfyUI, where several origins are allowed behind a door for them."""
    if not plan.spec.needs_door:
        async with running(plan, environment, on_line=shown, start_seconds=start_timeout) as comfyui:
            yield comfyui
        return
    inner = replace(plan, spec=behind_door(plan.spec, free_port()))
    say(f"pages of {len(plan.spec.origins)} origins are let in by a door before ComfyUI, which is at {inner.spec.url}")
    listen = [item.strip() for item in plan.spec.listen.split(",")]
    async with (
        running(inner, environment, on_line=shown, start_seconds=start_timeout) as comfyui,
        door(listen, plan.spec.port, inner.spec.url, plan.spec.origins),
    ):
        yield comfyui


async def _until_stopped(comfyui: Running, *, as_json: bool) -> None:
    """Wait for its end or ours; being stopped is the way in which a server is meant to end."""
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await comfyui.wait()
    except LaunchError as error:
        if not as_json:
            raise
        raise typer.Exit(failed(error, as_json=False)) from error  # stdout has its one envelope


def _device(plan: LaunchPlan) -> str:
    python = plan.python
    where = f"on {python.device_name}" if python.has_gpu else "on the processor: its Python sees no GPU"
    return escape(f"ComfyUI in {plan.root}, Python {python.version} with PyTorch {python.torch}, {where}")
