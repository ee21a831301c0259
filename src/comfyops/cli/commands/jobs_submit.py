"""`comfyops jobs submit` and `batch`: durable jobs, accepted once, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli import job_lines
from comfyops.cli import job_options as o
from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result, count
from comfyops.client import BatchHandle, Client, JobHandle
from comfyops.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (submit, batch):
        app.command()(command)


def submit(
    workflow: o.Workflow,
    changes: o.Set = None,
    key: o.Key = None,
    name: o.Name = "",
    priority: o.Priority = 0,
    delay: o.Delay = 0.0,
    deadline: o.Deadline = None,
    after: o.After = None,
    webhook: o.Webhook = "",
    label: o.Label = None,
    needs_tag: o.NeedsTag = None,
    needs_vram: o.NeedsVram = 0.0,
    backend: o.OnBackend = None,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Have a gateway accept a job and print its id; it is carried out whatever happens from then on."""
    options = o.options(name, priority, delay, deadline, after, webhook, label, needs_tag, needs_vram, backend)
    inputs = o.pairs(changes, "--set")

    async def work(client: Client) -> JobHandle:
        return await client.submit(workflow, inputs=inputs, idempotency_key=key, **options)

    found = ask(work, server, token)
    assert found.last is not None
    notes = ["the answer to an earlier request with this key"] if found.replayed else []
    data = {**job_lines.data_of(found.last), "replayed": found.replayed}
    return Result("jobs submit", data, [escape(found.id)], notes)


def batch(
    workflow: o.Workflow,
    table: Annotated[
        Path | None, typer.Option(help="CSV file: a job for each row, whose columns are named as inputs.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file: a job for each line, its prompt.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A job for each seed: 1..20, or 3,5,8.")] = None,
    changes: o.Set = None,
    key: o.Key = None,
    name: o.Name = "",
    priority: o.Priority = 0,
    delay: o.Delay = 0.0,
    deadline: o.Deadline = None,
    after: o.After = None,
    webhook: o.Webhook = "",
    label: o.Label = None,
    needs_tag: o.NeedsTag = None,
    needs_vram: o.NeedsVram = 0.0,
    backend: o.OnBackend = None,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Have a gateway accept many jobs of one workflow as one, all or none, and print the id of all.

    With prompts and seeds there is a job for each prompt with each seed.
    """
    if (table is None) == (prompts is None and seeds is None):
        raise UsageError("Give either --table FILE, or --prompts FILE, --seeds 1..20, or both of these.")
    options = o.options(name, priority, delay, deadline, after, webhook, label, needs_tag, needs_vram, backend)
    inputs = o.pairs(changes, "--set")
    rows = o.rows_of(table) if table is not None else None
    texts = o.prompts_of(prompts) if prompts is not None else None
    numbers = o.seeds_of(seeds) if seeds is not None else None
    if len(rows if rows is not None else texts or [""]) * len(numbers or [0]) > o.MOST:
        raise UsageError(f"These are more than {o.MOST} jobs.")

    async def work(client: Client) -> BatchHandle:
        return await client.batch(
            workflow, prompts=texts, seeds=numbers, table=rows, inputs=inputs,
            batch_name=name, idempotency_key=key, **options,
        )  # fmt: skip

    found = ask(work, server, token)
    jobs = count(len(found.last.job_ids), "job")
    return Result("jobs batch", found.last, [escape(found.id)], [f"{jobs}; see `comfyops jobs ls --batch ID`"])
