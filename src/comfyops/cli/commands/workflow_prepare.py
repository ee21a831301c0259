"""`comfyops workflow prepare`: everything that a workflow needs, found, fetched, proven, tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comfyops.cli.options import ApiPrefix, Json, Server, Token
from comfyops.cli.output import Result


def run(
    workflow: Annotated[
        str, typer.Argument(help="Workflow file (JSON, or media with one inside), template's name, or storyboard.")
    ],
    lock: Annotated[
        Path | None, typer.Option("--lock", help="Lock file: kept to where it is there, written where it is not.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do nothing.")] = False,
    launch: Annotated[
        bool, typer.Option("--launch", help="Start ComfyUI's folder for the smoke run, and stop it after.")
    ] = False,
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Do not try it in its smallest form.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a smoke run may take.")] = 1800.0,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port for --launch.")] = 8188,
    python: Annotated[
        Path | None, typer.Option("--python", help="Python for --launch, if not the one that ComfyUI has.")
    ] = None,
    comfyui_path: Annotated[
        str | None, typer.Option("--comfyui-path", help="Folder of ComfyUI, else COMFYOPS_COMFYUI_PATH, else searched.")
    ] = None,
    catalog: Annotated[
        list[Path] | None, typer.Option("--catalog", help="Catalog of your own, in YAML or JSON.")
    ] = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Take pickles too.")] = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Make a workflow runnable: its nodes and models, what they take, fetched and verified, then a smoke run.

    Without --server the ComfyUI in --comfyui-path is looked at. Exit code 0: it could run, and did where it was tried.
    """
    from comfyops.cli.preparing import Wish, prepare  # takes longer to import than other commands to run

    return prepare(
        Wish(
            workflow=workflow,
            lock=lock,
            yes=yes,
            dry_run=dry_run,
            launch=launch,
            smoke=not no_smoke,
            timeout=timeout,
            port=port,
            python=python,
            comfyui_path=comfyui_path,
            catalog=tuple(catalog or ()),
            allow_pickle=allow_pickle,
            server=server,
            token=token,
            api_prefix=api_prefix,
            quiet=as_json,
        )
    )
