"""`comfyops auth session`: who is signed in."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth import views
from comfyops.cli.auth_options import Home, access, when
from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result, count
from comfyops.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who is signed in.")


@app.command()
def ls(home: Home = None, as_json: Json = False) -> Result:
    """List sessions, the last used first; use is noted once a minute."""
    idle = settings(home=home).auth.session_idle
    with access(home) as (store, _):
        found = store.sessions.all(store.clock(), idle)
    lines = [f"{item.id}  {escape(f'{item.user.name:<24}')} last used {when(item.seen_at)}" for item in found]
    return Result(
        "auth session ls", [views.session(item) for item in found], lines, [] if found else ["nobody is signed in"]
    )


@app.command()
def end(
    session: Annotated[str | None, typer.Argument(metavar="ID", help="Id of the session, as listed.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="All sessions of this user instead.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Sign somebody out: the session stops within a second, also in open connections."""
    if (session is None) == (user is None):
        raise UsageError("Give either the id of a session, or --user NAME.")
    with access(home) as (_, administration):
        ended = administration.end_sessions(session=session, user=user)
    return Result("auth session end", {"ended": list(ended)}, [f"{count(len(ended), 'session')} ended"])
