"""`comfyops queue`: a gateway's jobs as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result
from comfyops.client.operators import QueueStats

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at a gateway's queue, hold it, let it go on.")


@app.command()
def stats(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Show how many jobs are in each state, and how many backends."""
    found = ask(lambda client: client.operators.stats(), server, token)
    return Result("queue stats", found, _lines(found))


@app.command()
def pause(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Begin no more jobs; running ones go on, new ones are taken."""
    found = ask(lambda client: client.operators.pause(), server, token)
    return Result("queue pause", found, _lines(found))


@app.command()
def resume(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Begin jobs again."""
    found = ask(lambda client: client.operators.resume(), server, token)
    return Result("queue resume", found, _lines(found))


@app.command("revoke-links")
def revoke_links(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """End every signed link to a file that was given so far."""
    ask(lambda client: client.operators.revoke_links(), server, token)
    return Result("queue revoke-links", {"revoked": True}, [], ["no link that was given works any more"])


def _lines(found: QueueStats) -> Iterator[str]:
    yield "paused: no more jobs begin" if found.paused else "jobs begin"
    for name, number in found.jobs.items():
        yield f"{number:>8}  {name}"
    for name, number in found.backends.items():
        yield f"{number:>8}  backends {name}"
