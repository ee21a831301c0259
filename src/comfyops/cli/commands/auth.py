"""`comfyops auth`: who may reach the gateway, and what they may do there."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth import views
from comfyops.cli.auth_options import Home, PasswordStdin, access, password_from
from comfyops.cli.commands import auth_diagnose, auth_role, auth_session, auth_token, auth_user
from comfyops.cli.options import Json
from comfyops.cli.output import Result

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Tokens, users and roles of the gateway.")
app.add_typer(auth_token.app, name="token")
app.add_typer(auth_user.app, name="user")
app.add_typer(auth_role.app, name="role")
app.add_typer(auth_session.app, name="session")
app.command("diagnose")(auth_diagnose.diagnose)


@app.command()
def init(
    name: Annotated[str | None, typer.Argument(help="Name of the first administrator.")] = None,
    password_stdin: PasswordStdin = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Make the first administrator; without a name, a one-time secret with which the sign-in page makes one.

    The secret counts for an hour, and once. Where there is an administrator already, this is refused.
    """
    if name is None:
        with access(home) as (_, administration):
            secret = administration.offer_setup()
        return Result(
            "auth init",
            {"secret": secret, "user": None},
            [secret],
            ["one-time secret for the first administrator, at /auth/login?setup of the gateway; counts for an hour"],
        )
    password = password_from(password_stdin)
    with access(home) as (_, administration):
        user = administration.first_administrator(name, password)
    data = {"secret": None, "user": views.user(user)}
    return Result("auth init", data, [f"{escape(user.name)} is the administrator"])
