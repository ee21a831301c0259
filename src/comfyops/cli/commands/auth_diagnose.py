"""`comfyops auth diagnose`: does a server keep its door shut?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from comfyops.cli.options import Json, settings, wait_for
from comfyops.cli.output import Result, count

_COLORS = {"ok": "green", "open": "bold red", "broken": "yellow"}


def diagnose(
    url: Annotated[str, typer.Argument(help="Address of a ComfyUI server or gateway.")],
    token: Annotated[str | None, typer.Option(help="A token that is right, else COMFYOPS_TOKEN.")] = None,
    stale_token: Annotated[
        str | None, typer.Option("--stale-token", help="A token that was right once, and must not be any more.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for one answer.")] = 15.0,
    as_json: Json = False,
) -> Result:
    """Try from outside, without changing anything, every known way around a server's login."""
    from comfyops.gateway.diagnose import diagnose as run

    chosen = settings(token=token)
    secret = chosen.token.get_secret_value() if chosen.token else None
    outcomes = wait_for(run(url, secret, stale=stale_token, timeout=timeout))
    bad = [item for item in outcomes if item.state != "ok"]
    table = Table("probe", "answer", "verdict", "", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"  # a path is given whole
    for item in outcomes:
        color = _COLORS[item.state]
        table.add_row(item.name, str(item.status or "-"), f"[{color}]{item.state}[/]", item.words)
    opened = sum(item.state == "open" for item in outcomes)
    words = "the door is shut" if not bad else f"{count(opened, 'way')} in, {count(len(bad) - opened, 'broken answer')}"
    notes = [f"{count(len(outcomes), 'probe')}: {words}"]
    if outcomes[0].state == "open":
        notes.append("[bold red]it has no login[/]: anybody who reaches it may do anything there")
    if secret is None:
        notes.append("no token was given: what the right one does was not tried")
    data = {"url": url, "shut": not bad, "open": opened, "probes": list(outcomes)}
    return Result("auth diagnose", data, [table], notes, exit_code=1 if bad else 0)
