"""Packs installed by ComfyUI-Manager on the server that it runs in.

Source: the routes of ComfyUI-Manager 3 (`/manager/queue/install`) and 4 (`/v2/manager/queue/task`, with its old page
`queue/batch`), and both versions' `queue/start`, `queue/status` and `customnode/installed`. It has packs of the
registry, pinned by version, not by commit, where its security level allows it; ComfyUI loads them at its next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from comfyops.errors import NodePackError

LOOK_EVERY = 1.0
"""Seconds between two looks at the manager's queue."""

_WAIT = aiohttp.ClientTimeout(total=60)
_CLIENT = "comfyops"


@dataclass(frozen=True)
class NodeManager:
    """The ComfyUI-Manager of one server; `prefix` tells its generation."""

    server: str
    prefix: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def install(self, name: str, version: str, timeout: float = 1800.0, every: float = LOOK_EVERY) -> None:
        """Have the server install a version of a pack, and wait until it lies there.

        Raises NodePackError where it is refused, fails, or takes more than `timeout` seconds.
        """
        async with self._session() as session:
            status = await self._ask(session, name, version)
            if status != 200:
                raise NodePackError(f"ComfyUI-Manager refuses {name}: it answers {status}.", hint=_SECURITY)
            await self._post(session, "manager/queue/start", {})
            await self._wait(session, time.monotonic() + timeout, every)
            found = await self._version(session, name)
        if found != version:
            has = f"it has version {found}" if found else "it is not there"
            words = f"ComfyUI-Manager did not install {name} {version}: {has}."
            raise NodePackError(words, hint=f"{_SECURITY} Its log says more.", pack=name)

    async def _ask(self, session: aiohttp.ClientSession, name: str, version: str) -> int:
        """Ask for a version of a pack; the status of the answer."""
        task = f"comfyops-{name}"
        item = {"id": name, "version": version, "selected_version": version, "channel": "default", "mode": "cache"}
        if not self.prefix:
            return await self._post(session, "manager/queue/install", {**item, "ui_id": task})
        body = {"kind": "install", "ui_id": task, "client_id": _CLIENT, "params": item}
        status = await self._post(session, "manager/queue/task", body)
        if status not in (404, 405):
            return status
        batch = {"batch_id": task, "install": [{**item, "ui_id": task}]}  # version 4 with its old page
        return await self._post(session, "manager/queue/batch", batch)

    async def _wait(self, session: aiohttp.ClientSession, deadline: float, every: float) -> None:
        while time.monotonic() < deadline:
            state = await self._get(session, "manager/queue/status")
            waiting = state.get("total_count", 0) > state.get("done_count", 0) or state.get("is_processing")
            if not waiting:
                return
            await asyncio.sleep(every)
        raise NodePackError("ComfyUI-Manager is not done with it in time.", hint="Look at its queue, and try again.")

    async def _version(self, session: aiohttp.ClientSession, name: str) -> str:
        packs = await self._get(session, "customnode/installed")
        for key, item in packs.items():
            if isinstance(item, dict) and name.casefold() in (key.casefold(), str(item.get("cnr_id")).casefold()):
                return str(item.get("ver") or "")
        return ""

    async def _get(self, session: aiohttp.ClientSession, route: str) -> dict[str, Any]:
        with _telling(self.server):
            async with session.get(f"{self.server}{self.prefix}/{route}") as answer:
                data = await answer.json(content_type=None) if answer.status == 200 else None
        if not isinstance(data, dict):
            raise NodePackError(f"The ComfyUI-Manager of {self.server} does not answer {route} as it should.")
        return data

    async def _post(self, session: aiohttp.ClientSession, route: str, body: Mapping[str, Any]) -> int:
        with _telling(self.server):
            async with session.post(f"{self.server}{self.prefix}/{route}", json=body) as answer:
                return answer.status

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(timeout=_WAIT, headers=dict(self.headers)) as session:
            yield session


async def find(server: str, token: str | None = None) -> NodeManager | None:
    """The manager of a server; None where it has none, or does not answer."""
    address, headers = server.rstrip("/"), {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=_WAIT, headers=headers) as session:
        for prefix in ("/v2", ""):
            try:
                async with session.get(f"{address}{prefix}/manager/version") as answer:
                    if answer.status == 200:
                        return NodeManager(address, prefix, headers)
            except (aiohttp.ClientError, TimeoutError, OSError):
                return None
    return None


@contextmanager
def _telling(server: str) -> Iterator[None]:
    """Makes one error of ours of everything that may go wrong on the way to a server."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        words = f"The ComfyUI-Manager of {server} does not answer: {error or type(error).__name__}."
        raise NodePackError(words) from error


_SECURITY = "Its security level (config.ini of ComfyUI-Manager) may forbid it."
