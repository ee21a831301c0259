"""`comfyops lock`: the lock files that `workflow prepare` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands.workflow_check import server_facts
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count
from comfyops.cli.preparing import digest
from comfyops.config import Settings
from comfyops.execution import lock_check, workflow_lock
from comfyops.execution.lock_check import Row
from comfyops.execution.workflow_lock import WorkflowLock
from comfyops.models import places, storage

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check the lock files of workflows.")


@app.callback()
def lock() -> None:
    """Check the lock files of workflows."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Lock file, such as comfyops.lock.")],
    comfyui_path: Annotated[
        str | None, typer.Option("--comfyui-path", help="ComfyUI whose nodes and models must be those of the lock.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="With --comfyui-path: read every byte of the models.")] = False,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Ask the sources whether they still have the very files.")
    ] = False,
    workflow: Annotated[
        Path | None, typer.Option("--workflow", help="Workflow file that must be the one of the lock.")
    ] = None,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Say whether a lock holds; nothing is fetched or changed. Exit code 1: something is not as the lock says.

    Alone it looks at the lock itself: whether every model can be had again exactly.
    """
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    known = workflow_lock.load(file)
    rows = list(lock_check.itself(known))
    if workflow is not None:
        same = digest([workflow]) == known.sha256
        rows.append(Row(same, "workflow", str(workflow), "as it was" if same else "is another file than the lock's"))
    if comfyui_path is not None:
        rows += _on_machine(known, comfyui_path, chosen, deep=deep)
    if server is not None:
        facts = wait_for(server_facts(chosen))
        rows += lock_check.on_server(known, facts.types, facts.stats.version, facts.models)
    if upstream:
        rows += lock_check.upstream(known, parts.model_web(chosen))
    bad = sum(not row.ok for row in rows)
    note = f"{escape(str(file))}: " + (f"{count(bad, 'thing')} of {len(rows)} not as it says" if bad else "it holds")
    return Result("lock verify", {"holds": not bad, "rows": rows}, _lines(rows), [note], exit_code=int(bool(bad)))


def _on_machine(known: WorkflowLock, path: str, chosen: Settings, *, deep: bool) -> Iterator[Row]:
    place = places.find(path)
    provision = parts.model_provision(storage.of_comfyui(place), chosen)
    return lock_check.on_machine(known, place.root, provision, deep=deep)


def _lines(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        state = "[green]ok  [/]" if row.ok else "[red]bad [/]"
        yield f"{state} {row.kind.ljust(8)} {escape(row.name)}  [dim]{escape(row.words)}[/]"
