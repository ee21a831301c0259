"""`comfyops webhooks`: what was told of jobs that ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli import job_lines
from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result
from comfyops.client import Client
from comfyops.client.operators import WebhookMessage

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See what webhooks were told, and tell it again.")


class State(StrEnum):
    """How a message stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@app.command()
def ls(
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only those about this job.")] = None,
    state: Annotated[State | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")] = 50,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """List messages to webhooks."""
    chosen = state.value if state else None
    found = ask(lambda client: client.operators.webhook_messages(job=job, state=chosen, limit=limit), server, token)
    return Result("webhooks ls", found, _lines(found), [] if found else ["no messages"])


@app.command()
def replay(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the messages.")],
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Send messages once more, whatever came of them."""

    async def work(client: Client) -> list[WebhookMessage]:
        return [await client.operators.replay_webhook(message) for message in dict.fromkeys(ids)]

    found = ask(work, server, token)
    return Result("webhooks replay", found, _lines(found))


def _lines(found: Iterable[WebhookMessage]) -> Iterator[str]:
    for item in found:
        answer = f" ({item.status})" if item.status else ""
        why = f": {item.reason}" if item.reason and item.state != "delivered" else ""
        tries = f"{item.attempts} tried"
        when = job_lines.moment(item.created_at)
        yield escape(f"{item.id}  {item.state}{answer}{why}  {item.type}  job {item.job}  {when}  {tries}  {item.url}")
