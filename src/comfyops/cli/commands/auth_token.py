"""`comfyops auth token`: credentials of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops.auth import views
from comfyops.cli.auth_options import Home, access, when
from comfyops.cli.options import Json
from comfyops.cli.output import Result

if TYPE_CHECKING:
    from comfyops.auth.administration import NewToken
    from comfyops.auth.records import Token

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Credentials of programs.")

Name = Annotated[str, typer.Argument(help="Name of the token.")]
NameOrId = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the token.")]


@app.command()
def create(
    name: Name,
    role: Annotated[str, typer.Option("--role", help="What it may do: viewer, artist, operator, administrator, ...")],
    expires: Annotated[
        str | None, typer.Option("--expires", help="How long it counts, such as 12h or 30d; else until revoked.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose it is: it sees what that user sees.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Make a token and print it, once: only its hash is kept."""
    from comfyops.auth import durations

    lifetime = None if expires is None else durations.seconds(expires)
    with access(home) as (_, administration):
        made = administration.create_token(name, role, lifetime=lifetime, user=user)
    return _printed("auth token create", made)


@app.command()
def ls(
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """List tokens, without their secrets."""
    with access(home) as (store, _):
        now = store.clock()
        found = [token for token in store.tokens.all() if everything or token.usable(now)]
    lines = [_line(token, now) for token in found]
    return Result("auth token ls", [views.token(token) for token in found], lines, [] if found else ["no tokens"])


@app.command()
def revoke(name: NameOrId, home: Home = None, as_json: Json = False) -> Result:
    """End a token; it stops within a second, also in open connections."""
    with access(home) as (_, administration):
        ended = administration.revoke_token(name)
    lines = [f"{token.id}  {escape(token.name)} revoked" for token in ended]
    return Result("auth token revoke", [views.token(token) for token in ended], lines)


@app.command()
def rotate(
    name: NameOrId,
    overlap: Annotated[
        str | None, typer.Option("--overlap", help="How long the old one counts beside the new, such as 1h; else not.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Give a token another secret and print it, once; name, role, end and what it owns stay."""
    from comfyops.auth import durations

    seconds = 0.0 if overlap is None else durations.seconds(overlap)
    with access(home) as (_, administration):
        made = administration.rotate_token(name, seconds)
    return _printed("auth token rotate", made)


def _printed(command: str, made: NewToken) -> Result:
    notes = [f"shown only now; id {made.token.id}, expires {when(made.token.expires_at)}"]
    return Result(command, {"token": made.text, **views.token(made.token)}, [made.text], notes)


def _line(token: Token, now: float) -> str:
    named = escape(f"{token.name:<24} {token.role:<14}")
    return f"{token.id}  {named} expires {when(token.expires_at)}  {_state(token, now)}"


def _state(token: Token, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "" if token.usable(now) else "expired"
