"""`comfyops nodes packs`, `install` and `remove`: packs of custom nodes in a ComfyUI's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops.cli.options import Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count, say
from comfyops.errors import UsageError

if TYPE_CHECKING:
    from comfyops.deploy.packs.planning import How
    from comfyops.deploy.packs.request import PackRequest

_MOST_BYTES = 16 * 1024 * 1024

Folder = Annotated[
    str | None, typer.Option("--comfyui-path", help="Folder of ComfyUI, else COMFYOPS_COMFYUI_PATH, else searched.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(packs)
    app.command()(install)
    app.command()(remove)


def packs(comfyui_path: Folder = None, as_json: Json = False) -> Result:
    """List the packs of custom nodes that are installed, with versions, commits and repositories."""
    from comfyops.cli.pack_installing import pack_data
    from comfyops.deploy.packs.installed import installed

    root = _root(comfyui_path)
    found = installed(root)
    lines = (
        f"{escape(item.name)}  {escape(item.version or '-')}  {item.commit[:12] or '-'}  [dim]{escape(item.url)}[/]"
        for item in found
    )
    return Result("nodes packs", [pack_data(item) for item in found], lines, [f"{count(len(found), 'pack')} in {root}"])


def install(
    names: Annotated[
        list[str] | None, typer.Argument(help="NAME, OWNER/NAME or address; pinned as NAME@COMMIT or NAME@VERSION.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--from", help="Packs of a lock, or of another tool's manifest, at their commits.")
    ] = None,
    comfyui_path: Folder = None,
    python: Annotated[Path | None, typer.Option("--python", help="ComfyUI's Python, if not its own.")] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Only this way: git, manager (ComfyUI-Manager, with --server), comfy-cli."),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do nothing.")] = False,
    server: Server = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Install packs of custom nodes at a commit or version, with the Python packages they need; PyTorch stays as it is.

    The plan is shown first. Exit code 1: one could not be installed, or nobody said yes.
    """
    from comfyops.cli import pack_installing as work
    from comfyops.deploy.packs.request import parse

    chosen = settings(server=server, token=token)
    wanted = [*(parse(name) for name in names or []), *(_listed(manifest) if manifest else ())]
    if not wanted and manifest is None:
        raise UsageError("No pack is named.", hint="Name one, or a manifest with --from.")
    ask = work.Ask(_root_or_none(comfyui_path, server), python, server, _way(by), as_json)
    tools = wait_for(work.tools_for(ask, chosen))
    plans = wait_for(work.planned(wanted, tools))
    say(*work.plan_lines(plans))
    data = {"packs": work.data(plans), "applied": False, "installed": [], "failed": list(plans.refused)}
    if dry_run or not plans.to_do:
        notes = [] if dry_run else ["nothing is to be done" if not plans.refused else "nothing was installed"]
        return Result("nodes install", data, (), notes, exit_code=int(bool(plans.refused)))
    if not agreed(yes=yes, quiet=as_json):
        return Result("nodes install", data, (), ["nothing was installed: --yes installs"], exit_code=1)
    done, failed = wait_for(work.install(plans.to_do, tools))
    bad = [*plans.refused, *failed]
    data |= {"applied": True, "installed": [work.pack_data(item) for item in done], "failed": bad}
    notes = [f"{count(len(done), 'pack')} installed; ComfyUI loads them when it is started anew"]
    return Result(
        "nodes install", data, [*work.done_lines(done), *work.refused_lines(failed)], notes, exit_code=int(bool(bad))
    )


def remove(
    names: Annotated[list[str], typer.Argument(help="Names of packs, as `nodes packs` lists them.")],
    comfyui_path: Folder = None,
    yes: Yes = False,
    as_json: Json = False,
) -> Result:
    """Take packs of custom nodes away, with everything in their folders; their Python packages stay."""
    from comfyops.deploy.packs import installing
    from comfyops.deploy.packs.installed import InstalledPack, find
    from comfyops.errors import NodePackError

    root = _root(comfyui_path)

    def chosen() -> Iterator[InstalledPack]:
        for name in names:
            pack = find(root, name)
            if pack is None:
                raise NodePackError(f"There is no pack {name!r} in {root}.", pack=name)
            yield pack

    found = list(dict.fromkeys(chosen()))
    say(*(f"  [yellow]remove[/] {escape(str(item.path))}" for item in found))
    data = {"packs": [item.name for item in found], "removed": False}
    if not agreed(yes=yes, quiet=as_json):
        return Result("nodes remove", data, (), ["nothing was removed: --yes removes"], exit_code=1)
    for item in found:
        installing.remove(item)
    data["removed"] = True
    return Result("nodes remove", data, [escape(item.name) for item in found], [f"{count(len(found), 'pack')} removed"])


def agreed(*, yes: bool, quiet: bool) -> bool:
    """Whether somebody said yes: by the option, or at a terminal."""
    if yes or quiet or not (sys.stdin and sys.stdin.isatty()):
        return yes
    return typer.confirm("Go on?", err=True)


def _root(comfyui_path: str | None) -> Path:
    from comfyops.models import places

    return places.find(comfyui_path or settings().comfyui_path).root


def _root_or_none(comfyui_path: str | None, server: str | None) -> Path | None:
    """ComfyUI's folder; None where only a server was named."""
    if comfyui_path is None and settings().comfyui_path is None and server is not None:
        return None
    return _root(comfyui_path)


def _listed(file: Path) -> tuple[PackRequest, ...]:
    """The packs of a manifest. Raises MissingFileError, NotJsonError, NodePackError."""
    from comfyops.deploy.packs.lists import requests
    from comfyops.support import yaml_text
    from comfyops.support.files import read_bytes

    data = read_bytes(file, _MOST_BYTES)
    try:
        return requests(json.loads(data), str(file))
    except (ValueError, RecursionError):
        return requests(yaml_text.loads(data, str(file)), str(file))


def _way(text: str | None) -> How | None:
    from comfyops.deploy.packs.planning import How

    ways = [How.GIT, How.MANAGER, How.COMFY_CLI]
    if text is None or text in ways:
        return How(text) if text else None
    raise UsageError(f"--by does not know {text[:40]!r}.", hint=f"Known are {', '.join(ways)}.")
