"""`comfyops auth user`: people with a password."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth import views
from comfyops.cli.auth_options import Home, PasswordStdin, access, no_administrator, password_from
from comfyops.cli.options import Json
from comfyops.cli.output import Result

app = typer.Typer(no_args_is_help=True, add_completion=False, help="People with a password.")

Name = Annotated[str, typer.Argument(help="Name of the user.")]


@app.command()
def create(
    name: Name,
    role: Annotated[str, typer.Option("--role", help="What they may do: viewer, artist, operator, administrator, ...")],
    password_stdin: PasswordStdin = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Make a user; the password is asked for, or comes from stdin."""
    password = password_from(password_stdin)
    with access(home) as (_, administration):
        user = administration.create_user(name, role, password)
    return Result("auth user create", views.user(user), [f"{escape(user.name)} is {escape(user.role)}"])


@app.command()
def ls(home: Home = None, as_json: Json = False) -> Result:
    """List users."""
    with access(home) as (store, _):
        found = store.users.all()
    lines = [f"{escape(f'{user.name:<24} {user.role:<14}')} {'disabled' if user.disabled else ''}" for user in found]
    return Result("auth user ls", [views.user(user) for user in found], lines, [] if found else ["no users"])


@app.command()
def disable(
    name: Name,
    enable: Annotated[bool, typer.Option("--undo", help="Let the user in again.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Keep a user out: sessions and tokens of theirs stop within a second."""
    with access(home) as (store, administration):
        user = administration.disable_user(name, disabled=not enable)
        notes = no_administrator(store)
    word = "disabled" if user.disabled else "let in again"
    return Result("auth user disable", views.user(user), [f"{escape(user.name)} is {word}"], notes)


@app.command()
def password(name: Name, password_stdin: PasswordStdin = False, home: Home = None, as_json: Json = False) -> Result:
    """Give a user another password; their sessions end."""
    given = password_from(password_stdin)
    with access(home) as (_, administration):
        user = administration.set_password(name, given)
    return Result("auth user password", views.user(user), [f"{escape(user.name)} has another password"])


@app.command("role")
def role_(
    name: Name,
    role: Annotated[str, typer.Argument(help="The role from now on.")],
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Give a user another role; they have to sign in again."""
    with access(home) as (store, administration):
        user = administration.set_user_role(name, role)
        notes = no_administrator(store)
    return Result("auth user role", views.user(user), [f"{escape(user.name)} is {escape(user.role)}"], notes)
