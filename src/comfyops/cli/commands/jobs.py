"""`comfyops jobs`: the jobs of a server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count, plain
from comfyops.support.files import check_folder

if TYPE_CHECKING:
    from comfyops.backends.backend import JobSummary
    from comfyops.backends.events import Finished
    from comfyops.config import Settings
    from comfyops.execution.outputs import SavedOutput

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See, await and cancel the jobs of a server.")


@app.command()
def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")] = 20,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List a server's jobs: running, waiting and finished ones."""
    jobs = wait_for(_jobs(settings(server=server, token=token, api_prefix=api_prefix), limit))
    return Result("jobs ls", jobs, _lines(jobs), [] if jobs else ["no jobs"])


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")],
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show how a job stands, and what it made or why it failed."""
    end = wait_for(_end(settings(server=server, token=token, api_prefix=api_prefix), run_id))
    if end is None:
        return Result("jobs show", {"run_id": run_id, "status": "unfinished"}, [f"{escape(run_id)}  not finished yet"])
    return Result("jobs show", {"status": end.outcome, **plain(end)}, _end_lines(end))


@app.command()
def wait(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the outputs.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait for the end.")] = None,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Wait for a job that was submitted before, and fetch what it makes. Ctrl-C stops waiting, not the job."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix, output=output)
    check_folder(chosen.output)
    saved = wait_for(_wait(chosen, run_id, timeout))
    lines = [escape(str(item.path)) for item in saved]
    return Result("jobs wait", {"run_id": run_id, "outputs": saved}, lines, [count(len(saved), "output")])


@app.command()
def cancel(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the jobs.")],
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Cancel jobs, running or waiting. Exit code 1 where there was nothing to cancel."""
    done = wait_for(_cancel(settings(server=server, token=token, api_prefix=api_prefix), run_ids))
    data = [{"run_id": run_id, "cancelled": cancelled} for run_id, cancelled in done.items()]
    words = {True: "cancelled", False: "neither running nor waiting"}
    lines = [f"{escape(run_id)}  {words[cancelled]}" for run_id, cancelled in done.items()]
    return Result("jobs cancel", data, lines, exit_code=0 if all(done.values()) else 1)


async def _jobs(chosen: Settings, limit: int) -> tuple[JobSummary, ...]:
    async with parts.connect(chosen) as backend:
        return await backend.jobs(limit)


async def _cancel(chosen: Settings, run_ids: list[str]) -> dict[str, bool]:
    async with parts.connect(chosen) as backend:
        return {run_id: await backend.cancel(run_id) for run_id in dict.fromkeys(run_ids)}


async def _end(chosen: Settings, run_id: str) -> Finished | None:
    async with parts.connect(chosen) as backend:
        return await backend.result(run_id)


async def _wait(chosen: Settings, run_id: str, timeout: float | None) -> tuple[SavedOutput, ...]:
    from comfyops.execution.run import collect

    async with parts.connect(chosen) as backend:
        return await collect(run_id, backend, chosen.output, timeout=timeout)


def _end_lines(end: Finished) -> Iterator[str]:
    yield f"{escape(end.run_id)}  {end.outcome}{'  from the cache' if end.cached else ''}"
    if end.failure is not None:
        yield f"  node {escape(end.failure.node)} ({escape(end.failure.class_type)}): {escape(end.failure.message)}"
    for item in end.outputs:
        name = "/".join(filter(None, (item.subfolder, item.filename))) or item.text
        yield f"  node {escape(item.node)}  {item.kind:<6} {item.folder_type:<6} {escape(name)}"


def _lines(jobs: tuple[JobSummary, ...]) -> Iterator[str]:
    for job in jobs:
        when = _local_time(job.created_at)
        yield f"{escape(f'{job.run_id}  {job.status:<11}')}  {when:<19}  {count(job.outputs_count, 'output')}"


def _local_time(seconds: float | None) -> str:
    """A time since the epoch as people read it; "-" for none, and for one that no calendar holds."""
    try:
        return datetime.fromtimestamp(seconds).isoformat(" ", "seconds") if seconds else "-"
    except (OverflowError, ValueError, OSError):
        return "-"
