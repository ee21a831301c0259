"""Requests to a gateway: safe ones are sent again while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from comfyops.backends.http import Http
from comfyops.client.refusals import translate
from comfyops.errors import ComfyOpsError, UnreachableError

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries
_SILENCE = 45.0  # seconds without a byte after which a stream of events counts as broken; it beats every 15


class GatewayHttp(Http):
    """The way to one gateway. `patience` is how many seconds one that is away is asked again."""

    def __init__(self, url: str, *, token: str | None, timeout: float, patience: float) -> None:
        super().__init__(url, token=token, api_prefix="", timeout=timeout)
        self.patience = patience

    async def ask(self, method: str, route: str, *, again: bool | None = None, **arguments: Any) -> Any:
        """The JSON of an answer; a request that is harmless to send twice (`again`; GET is) is sent until answered.

        Raises what the answer says, UnreachableError.
        """
        if again is None:
            again = method in ("GET", "HEAD")
        if not again:
            return await self.json(method, route, **arguments)
        return await self.insisting(lambda: self.json(method, route, **arguments))

    async def insisting(self, once: Callable[[], Awaitable[T]]) -> T:
        """What `once` gives, tried again while the gateway is away. Raises UnreachableError after `patience`."""
        give_up, pause = time.monotonic() + self.patience, _FIRST_PAUSE
        while True:
            try:
                return await once()
            except UnreachableError:
                if time.monotonic() + pause > give_up:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    @asynccontextmanager
    async def stream(self, route: str) -> AsyncIterator[aiohttp.StreamReader]:
        """The bytes of a stream that has no end of its own time."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout, sock_read=_SILENCE)
        with self.translated(route):
            async with self.session().get(self.address(route), timeout=timeout, allow_redirects=False) as response:
                if response.status >= 300:
                    raise await self._refusal(response, route)
                yield response.content

    async def _refusal(self, response: aiohttp.ClientResponse, route: str) -> ComfyOpsError:
        body: Any = None
        with contextlib.suppress(ValueError, RecursionError):  # something else than a gateway may answer
            body = json.loads(await self._read(response))
        return translate(response.status, body, response.headers.get("Retry-After", ""), self.url, route)
