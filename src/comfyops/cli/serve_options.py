"""Options of `comfyops serve` about the listener that asks for no credential."""

from __future__ import annotations

from typing import Annotated

import typer

OpenListen = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Listen here too, without asking for a credential: 127.0.0.1:PORT or unix:/path. Everybody on this "
        "machine who reaches it acts as --open-owner.",
    ),
]
OpenOwner = Annotated[str, typer.Option(help="Name under which who comes by --open-listen acts.")]
OpenRole = Annotated[str, typer.Option(help="What they may do; never a role that manages access.")]
OpenMode = Annotated[str, typer.Option(help="Mode of the unix socket: 600, or 660 for its group too.")]
