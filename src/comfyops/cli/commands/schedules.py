"""`comfyops schedules`: jobs at set times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli import job_lines
from comfyops.cli import job_options as o
from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result
from comfyops.client import Client
from comfyops.client.operators import PlannedJobs

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Have a gateway submit jobs at set times.")

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]


class Misfire(StrEnum):
    """What becomes of times at which nothing could submit."""

    ONCE = "once"
    SKIP = "skip"


@app.command()
def ls(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """List schedules, with their next time."""
    found = ask(lambda client: client.operators.schedules(), server, token)
    return Result("schedules ls", found, _lines(found), [] if found else ["no schedules"])


@app.command()
def add(
    name: Name,
    cron: Annotated[str, typer.Argument(help="Minute hour day month weekday, such as '0 3 * * *'.")],
    workflow: o.Workflow,
    timezone: Annotated[str, typer.Option(help="Time zone of these, such as Europe/Paris.")] = "UTC",
    misfire: Annotated[
        Misfire, typer.Option(help="Missed times: one job for all of them, or none (skip).")
    ] = Misfire.ONCE,
    changes: o.Set = None,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Add a schedule, whose jobs are one's own; of a name that is there already, change it."""
    inputs = o.pairs(changes, "--set")

    async def work(client: Client) -> PlannedJobs:
        job = {"workflow": await client.graph(workflow, inputs), "name": name}
        return await client.operators.add_schedule(name, cron, job, timezone=timezone, misfire=misfire.value)

    found = ask(work, server, token)
    return Result("schedules add", found, _lines([found]))


@app.command()
def pause(name: Name, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Leave a schedule's times out."""
    ask(lambda client: client.operators.pause_schedule(name), server, token)
    return Result("schedules pause", {"name": name, "paused": True}, [f"{escape(name)}  paused"])


@app.command()
def resume(name: Name, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Take `pause` back."""
    ask(lambda client: client.operators.pause_schedule(name, False), server, token)
    return Result("schedules resume", {"name": name, "paused": False}, [f"{escape(name)}  goes on"])


@app.command()
def remove(name: Name, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Forget a schedule; its jobs stay."""
    ask(lambda client: client.operators.remove_schedule(name), server, token)
    return Result("schedules remove", {"removed": name}, [f"{escape(name)}  removed"])


def _lines(found: Iterable[PlannedJobs]) -> Iterator[str]:
    for item in found:
        following = "paused" if item.paused else f"next {job_lines.moment(item.next_at)}"
        last = f"  last job {item.last_job}" if item.last_job else ""
        yield escape(f"{item.name}  {item.cron} ({item.timezone})  {following}{last}")
