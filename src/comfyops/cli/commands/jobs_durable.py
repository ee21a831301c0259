"""`comfyops jobs watch`, `logs`, `explain`, `retry`, `priority`: what only jobs that are kept can tell and do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli import job_lines
from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result, say
from comfyops.client import Client, Explanation, Job, LogEntry

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, logs, explain, retry, priority):
        app.command()(command)


def watch(job_id: Id, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Tell what happens to a job to its end; exit code 1 unless it succeeded. Ctrl-C stops watching, not the job."""

    async def work(client: Client) -> Job:
        handle, before = client.job(job_id), ""
        async for event in handle.events():
            line = job_lines.event(event)
            if line and line != before and not as_json:
                say(line)
                before = line
        return await handle.look()

    job = ask(work, server, token)
    code = 0 if job.status == "succeeded" else 1
    return Result("jobs watch", job_lines.data_of(job), job_lines.job(job), exit_code=code)


def logs(job_id: Id, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Tell what happened to a job so far: changes of state, nodes, notes."""

    async def work(client: Client) -> tuple[LogEntry, ...]:
        return await client.job(job_id).log()

    entries = ask(work, server, token)
    return Result("jobs logs", entries, job_lines.log(entries))


def explain(job_id: Id, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Say why a job is where it is: its runs, each decision about its place, what it waits for."""

    async def work(client: Client) -> Explanation:
        return await client.job(job_id).explain()

    found = ask(work, server, token)
    return Result("jobs explain", found, job_lines.explanation(found))


def retry(
    job_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the jobs.")],
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Have jobs that failed, were canceled or expired run again."""

    async def work(client: Client) -> list[Job]:
        return [await client.job(job_id).retry() for job_id in dict.fromkeys(job_ids)]

    found = ask(work, server, token)
    return Result(
        "jobs retry", [job_lines.data_of(job) for job in found], [f"{escape(job.id)}  {job.status}" for job in found]
    )


def priority(
    job_id: Id,
    number: Annotated[int, typer.Argument(help="The new priority; a smaller one goes first.")],
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Have a waiting job go before others, or after them (a negative number after `--`)."""

    async def work(client: Client) -> Job:
        return await client.job(job_id).set_priority(number)

    job = ask(work, server, token)
    return Result("jobs priority", job_lines.data_of(job), [f"{escape(job.id)}  priority {job.priority}"])
