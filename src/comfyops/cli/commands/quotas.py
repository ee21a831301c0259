"""`comfyops quotas`: how much each owner of jobs may have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result
from comfyops.client.operators import OwnerQuota

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say how much each owner of jobs may have.")

Owner = Annotated[str, typer.Argument(help="Id of the owner, as `comfyops jobs ls --all` shows it.")]


@app.command()
def ls(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """List the quotas that were set."""
    found = ask(lambda client: client.operators.quotas(), server, token)
    return Result("quotas ls", found, _lines(found), [] if found else ["no quotas: nobody is limited"])


@app.command("set")
def put(
    owner: Owner,
    running: Annotated[int | None, typer.Option(min=0, help="Jobs that may run at once.")] = None,
    waiting: Annotated[int | None, typer.Option(min=0, help="Jobs that may wait.")] = None,
    weight: Annotated[float, typer.Option(min=0.001, help="Share of the turns; 2 gets twice those of 1.")] = 1.0,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Set the quota of an owner, whole: a limit that is not given is none."""
    quota = OwnerQuota(owner, running, waiting, weight)
    found = ask(lambda client: client.operators.set_quota(quota), server, token)
    return Result("quotas set", found, _lines([found]))


@app.command()
def remove(owner: Owner, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Set an owner back to no limits of its own."""
    ask(lambda client: client.operators.remove_quota(owner), server, token)
    return Result("quotas remove", {"removed": owner}, [f"{escape(owner)}  removed"])


def _lines(found: Iterable[OwnerQuota]) -> Iterator[str]:
    for item in found:
        limits = [f"{_limit(item.max_running)} running", f"{_limit(item.max_waiting)} waiting"]
        yield escape(f"{item.owner}  {', '.join(limits)}, weight {item.weight:g}")


def _limit(number: int | None) -> str:
    return "any number" if number is None else str(number)
