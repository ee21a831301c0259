"""A client of the gateway that is patient: it sends a request again, with its key, until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import aiohttp

from tests.chaos.job_world import SECONDS, Process, graph

_ANSWER = 10.0  # seconds to wait for one answer


class Client:
    """Submits jobs to a gateway that dies and comes back at the same address."""

    def __init__(self, gateway: Process) -> None:
        self._url = f"{gateway.words['opened']}/api/v2/jobs"
        self.accepted: list[str] = []

    async def submit(self, count: int, at_once: int = 4) -> None:
        """Have jobs 0 to `count` accepted."""
        numbers = iter(range(count))

        async def some(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                self.accepted.append(await self._submit(session, number))

        timeout = aiohttp.ClientTimeout(total=_ANSWER)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some(session))

    async def _submit(self, session: aiohttp.ClientSession, number: int) -> str:
        body = {"workflow": graph(number), "name": str(number)}
        headers = {"Idempotency-Key": f"number {number}"}
        give_up = time.monotonic() + SECONDS
        while True:
            answer = await self._ask(session, body, headers)
            if answer is not None:
                return answer
            assert time.monotonic() < give_up, f"job {number} is not accepted"
            await asyncio.sleep(0.1)

    async def _ask(
        self, session: aiohttp.ClientSession, body: Mapping[str, object], headers: Mapping[str, str]
    ) -> str | None:
        try:
            async with session.post(self._url, json=body, headers=headers) as response:
                text = await response.text()
                assert response.status < 400 or response.status >= 500 or response.status == 429, text
                return str((await response.json())["id"]) if response.status < 400 else None
        except (aiohttp.ClientError, TimeoutError):
            return None
