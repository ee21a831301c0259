"""`comfyops audit`: who did what."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops.auth import views
from comfyops.cli.auth_options import Home, records, when
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count
from comfyops.errors import UsageError

if TYPE_CHECKING:
    from comfyops.auth.chain import Record

_HASH = re.compile(r"[0-9a-f]{64}")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The record of who did what.")


@app.command()
def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many, newest first.")] = 50,
    who: Annotated[str, typer.Option("--who", help="Only those of this name or id.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only those that begin so, such as auth.token.")] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """List what was done, newest first."""
    with records(home) as (_, kept):
        found = kept.newest(limit, actor=who, action=action, refused=refused)
    data = [views.record(record) for record in found]
    return Result("audit ls", data, [_line(record) for record in found], [] if found else ["no records"])


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option("--head", help="A hash noted before, which has to be in the chain still.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """See that no record was changed, removed, added or reordered; the newest hash is worth noting elsewhere."""
    if head is not None and not _HASH.fullmatch(head):
        raise UsageError(
            "The head is not a hash of 64 digits and letters from a to f.", hint="Give it as it was noted."
        )
    with records(home) as (_, kept):
        found = kept.verify(head or "")
    lines = [f"whole: {count(found.records, 'record')}, {found.dropped} dropped before them", f"head {found.hash}"]
    notes = (
        [] if found.records else ["[yellow]there is no record[/]: only a head noted before shows that there were any"]
    )
    return Result("audit verify", found, lines, notes)


@app.command()
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, one record of JSON per line.")],
    home: Home = None,
    as_json: Json = False,
) -> Result:
    """Write every record to a file that only its owner may read, oldest first."""
    from comfyops.support.files import writing

    with records(home) as (_, kept), writing(output, private=True) as file:
        written = kept.export(lambda line: file.write(line.encode()))
    return Result(
        "audit export", {"file": output, "records": written}, [f"{count(written, 'record')} in {escape(str(output))}"]
    )


@app.command()
def prune(home: Home = None, as_json: Json = False) -> Result:
    """Drop records older than the setting `audit_keep_days`; the rest can be verified still."""
    with records(home) as (chosen, kept):
        now = time.time()
        dropped = kept.prune(now - chosen.auth.audit_keep, now)
    return Result("audit prune", {"dropped": dropped}, [f"{count(dropped, 'record')} dropped"])


def _line(record: Record) -> str:
    event = record.event
    word = "" if event.allowed else "[red]refused[/] "
    where = f" from {event.address}" if event.address else ""
    text = f"{event.name or event.actor or '-'} {event.action} {event.target}{where} {event.reason}"
    return f"{record.seq:>6}  {when(event.at)}  {word}{escape(' '.join(text.split()))}"
