"""Options of `comfyops serve`; those about what it launches are in `serve_launch`."""

from __future__ import annotations

from pathlib import Path
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
Backend = Annotated[
    list[str] | None, typer.Option(help="Address of a ComfyUI server; several are shared out among people.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")]
Home = Annotated[Path | None, typer.Option(help="Folder of accounts and records, else COMFYOPS_HOME.")]
BackendToken = Annotated[
    str | None,
    typer.Option(envvar="COMFYOPS_BACKEND_TOKEN", help="Token the servers want, such as ComfyUI-Login's hash."),
]
AllowHost = Annotated[list[str] | None, typer.Option(help="A name that this gateway is reached by.")]
AllowOrigin = Annotated[list[str] | None, typer.Option(help="Origin of pages that may call it.")]
TrustProxy = Annotated[
    list[str] | None, typer.Option(help="Address or network of a proxy whose X-Forwarded headers count.")
]
QueryToken = Annotated[bool, typer.Option("--query-token", help="Take tokens as ?token= too.")]
SharedUserdata = Annotated[
    bool, typer.Option("--shared-userdata", help="Saved workflows and settings are the server's, for all.")
]
DenyNode = Annotated[list[str] | None, typer.Option(help="ROLE=CLASS: nodes that a role may not use.")]
AllowNode = Annotated[list[str] | None, typer.Option(help="ROLE=CLASS: the only nodes a role may use.")]
MaxJobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Jobs of one owner that may wait, else COMFYOPS_MAX_WAITING; with --pass-through wait or run, else 100.",
    ),
]
MaxRequests = Annotated[float, typer.Option(min=0.1, help="Requests of one owner in a second, on average.")]
MaxConnections = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Connections of one address at once, websockets too; a proxy of --trust-proxy may have more. Without it "
        "two fifths of the files that this process may have open.",
    ),
]
Certificate = Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")]
Key = Annotated[Path | None, typer.Option(help="TLS key (PEM).")]
PassThrough = Annotated[
    bool, typer.Option("--pass-through", help="Jobs go straight to the servers, which forget them when they end.")
]
Page = Annotated[bool, typer.Option("--page", help="With the simulator: the official ComfyUI page.")]
