"""`comfyops jobs`: the jobs that a gateway keeps, or those of a plain ComfyUI server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli import job_lines
from comfyops.cli.commands import jobs_durable, jobs_submit
from comfyops.cli.gateway import gateway_or_none
from comfyops.cli.job_options import pairs
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count, plain
from comfyops.client import Batch, BatchHandle, Client, Job, JobHandle, SavedFile
from comfyops.client.handles import raise_unless_succeeded
from comfyops.errors import UnknownJobError, UnsupportedError
from comfyops.support.files import check_folder

if TYPE_CHECKING:
    from comfyops.backends.backend import JobSummary
    from comfyops.backends.events import Finished
    from comfyops.config import Settings
    from comfyops.execution.outputs import SavedOutput

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="See, await and steer jobs: a gateway's, or a plain server's."
)

for module in (jobs_submit, jobs_durable):
    module.register(app)


@app.command()
def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")] = 20,
    status: Annotated[
        str | None, typer.Option(help="Only these: queued, running, succeeded, failed, canceled, expired.")
    ] = None,
    batch: Annotated[str | None, typer.Option(metavar="ID", help="Only the jobs of this batch.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only those with this label, NAME=VALUE.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Others' jobs too, for who may see them.")] = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List jobs: running, waiting and finished ones. The options that choose need a gateway."""
    labels = pairs(label, "--label")
    which = {"status": status, "batch": batch, "labels": labels, "everybody": everybody}
    given = {name: value for name, value in which.items() if value}
    kept, plain_jobs = wait_for(_jobs(settings(server=server, token=token, api_prefix=api_prefix), limit, given))
    notes = [] if kept or plain_jobs else ["no jobs"]
    if kept is not None:
        lines = job_lines.jobs(kept, owners=everybody)
        return Result("jobs ls", [job_lines.data_of(job) for job in kept], lines, notes)
    return Result("jobs ls", plain_jobs, _lines(plain_jobs), notes)


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job, or of a batch.")],
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show how a job stands, and what it made or why it failed."""
    found = wait_for(_found(settings(server=server, token=token, api_prefix=api_prefix), run_id))
    if isinstance(found, Job):
        return Result("jobs show", job_lines.data_of(found), job_lines.job(found))
    if isinstance(found, Batch):
        return Result("jobs show", found, job_lines.batch(found))
    if found is None:
        return Result("jobs show", {"run_id": run_id, "status": "unfinished"}, [f"{escape(run_id)}  not finished yet"])
    return Result("jobs show", {"status": found.outcome, **plain(found)}, _end_lines(found))


@app.command()
def wait(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job, or of a batch.")],
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


async def _jobs(
    chosen: Settings, limit: int, which: dict[str, Any]
) -> tuple[tuple[Job, ...] | None, tuple[JobSummary, ...]]:
    """The jobs of a gateway (None = it is a plain server), or those of a plain server."""
    async with gateway_or_none(chosen) as client:
        if client is not None:
            return tuple([job async for job in client.jobs(limit, **which)]), ()
    if which:
        raise UnsupportedError(f"{chosen.server} keeps no jobs to choose from.", hint="It is no ComfyOps gateway.")
    async with parts.connect(chosen) as backend:
        return None, await backend.jobs(limit)


async def _cancel(chosen: Settings, run_ids: list[str]) -> dict[str, bool]:
    async with gateway_or_none(chosen) as client:
        if client is not None:
            return {run_id: await _cancel_kept(client, run_id) for run_id in dict.fromkeys(run_ids)}
    async with parts.connect(chosen) as backend:
        return {run_id: await backend.cancel(run_id) for run_id in dict.fromkeys(run_ids)}


async def _cancel_kept(client: Client, run_id: str) -> bool:
    handle = client.job(run_id)
    return not (await handle.look()).over and (await handle.cancel()).status == "canceled"


async def _found(chosen: Settings, run_id: str) -> Job | Batch | Finished | None:
    """What is known of a job or batch of a gateway, or of a run of a plain server."""
    async with gateway_or_none(chosen) as client:
        if client is not None:
            handle = await _kept(client, run_id)
            assert handle.last is not None
            return handle.last
    async with parts.connect(chosen) as backend:
        return await backend.result(run_id)


async def _kept(client: Client, found_id: str) -> JobHandle | BatchHandle:
    """The job of this id, else the batch. Raises UnknownJobError."""
    handle = client.job(found_id)
    try:
        await handle.look()
        return handle
    except UnknownJobError as error:
        with suppress(UnknownJobError):
            return await client.get_batch(found_id)
        raise UnknownJobError(f"There is no job or batch {found_id[:80]!r}.") from error


async def _wait(chosen: Settings, run_id: str, timeout: float | None) -> Sequence[SavedOutput | SavedFile]:
    async with gateway_or_none(chosen) as client:
        if client is not None:
            return await _wait_kept(await _kept(client, run_id), chosen.output, timeout)
    from comfyops.execution.run import collect

    async with parts.connect(chosen) as backend:
        return await collect(run_id, backend, chosen.output, timeout=timeout)


async def _wait_kept(handle: JobHandle | BatchHandle, folder: Path, timeout: float | None) -> list[SavedFile]:
    """Fetch what a job, or each of a batch, made; then raise for those that ended otherwise than well."""
    await handle.wait(timeout)
    saved: list[SavedFile] = []
    jobs = handle.jobs if isinstance(handle, BatchHandle) else (handle,)
    for job in jobs:
        saved += await job.download(folder)
    for job in jobs:
        assert job.last is not None
        raise_unless_succeeded(job.last, outputs=[str(item.path) for item in saved])
    return saved


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
