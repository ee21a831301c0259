"""Commands about durable jobs: the gateway that they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from comfyops.cli.options import settings, wait_for
from comfyops.errors import NotComfyUIError, UnsupportedError

if TYPE_CHECKING:
    from comfyops.client import Client
    from comfyops.config import Settings

T = TypeVar("T")

Gateway = Annotated[str | None, typer.Option("--server", help="Address of `comfyops serve`, else COMFYUI_URL.")]


@asynccontextmanager
async def gateway(chosen: Settings) -> AsyncIterator[Client]:
    """A client of the configured gateway, which was asked once whether it keeps jobs.

    Raises UnreachableError at once, LoginRequiredError, UnsupportedError where it is another server.
    """
    from comfyops.client import Client

    secret = chosen.token.get_secret_value() if chosen.token else None
    async with Client(chosen.server, token=secret, timeout=chosen.timeout) as client:
        await client.health(patiently=False)
        yield client


@asynccontextmanager
async def gateway_or_none(chosen: Settings) -> AsyncIterator[Client | None]:
    """The same, None for a plain ComfyUI server."""
    from comfyops.client import Client

    secret = chosen.token.get_secret_value() if chosen.token else None
    async with Client(chosen.server, token=secret, timeout=chosen.timeout) as client:
        try:
            if chosen.api_prefix.strip("/"):  # a gateway has none
                raise UnsupportedError("There is a prefix.")
            await client.health(patiently=False)
        except (UnsupportedError, NotComfyUIError):  # the plain server's own client says what is wrong with it
            yield None
            return
        yield client


def ask(work: Callable[[Client], Awaitable[T]], server: str | None, token: str | None) -> T:
    """What some work with the gateway of a command's options gives. Raises as `gateway`, and what the work raises."""
    chosen = settings(server=server, token=token)

    async def connected() -> T:
        async with gateway(chosen) as client:
            return await work(client)

    return wait_for(connected())
