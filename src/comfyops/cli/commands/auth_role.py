"""`comfyops auth role`: what may be done, as sets of scopes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.auth_options import Home, access
from comfyops.cli.options import Json
from comfyops.cli.output import Result
from comfyops.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What may be done, as sets of scopes.")


@app.command()
def ls(home: Home = None, as_json: Json = False) -> Result:
    """List roles and their scopes."""
    with access(home) as (store, _):
        found = {name: sorted(scopes) for name, scopes in store.roles.all().items()}
    lines = [f"{escape(f'{name:<16}')} {escape(' '.join(scopes))}" for name, scopes in found.items()]
    return Result("auth role ls", found, lines)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="Name of the role.")],
    scopes: Annotated[list[str] | None, typer.Argument(metavar="SCOPE...", help="Everything it may do.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the role; one of ComfyOps's is as it was.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Make a role, or give one other scopes, at once for everybody who has it. docs/auth.md lists the scopes."""
    if remove == bool(scopes):
        raise UsageError("Give the scopes that the role has from now on, or --remove.")
    with access(home) as (_, administration):
        if remove:
            administration.remove_role(name)
            return Result("auth role set", {"name": name, "scopes": None}, [f"{escape(name)} removed"])
        given = sorted(administration.set_role(name, scopes or ()))
    return Result("auth role set", {"name": name, "scopes": given}, [f"{escape(name)}: {escape(' '.join(given))}"])
