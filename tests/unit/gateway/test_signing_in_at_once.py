"""A thousand sign-ins at once (300, where not everything is tested): everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from comfyops.gateway.settings import BackendAddress
from tests.unit.gateway.house import add_token, gateway_to
from tests.unit.gateway.wire import listening_server

AT_ONCE = 1000 if os.environ.get("COMFYOPS_TEST_ALL") == "1" else 300
EACH = 5
"""Ordinary answers for each hundred sign-ins, at least; a gateway that works on sign-ins first gives none."""


async def test_ordinary_requests_are_answered_while_very_many_people_sign_in(tmp_path: Path) -> None:
    async with (
        listening_server() as (backend, _),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web,
    ):
        proxies = frozenset({"127.0.0.1"})
        async with gateway_to(tmp_path, (BackendAddress(backend),), proxies=proxies) as (url, _, store, _):
            headers = {"Authorization": f"Bearer {add_token(store, 'a', 'artist')}"}
            finished: list[int] = []

            async def sign_in(number: int) -> None:
                away = {"X-Forwarded-For": f"10.0.{number // 250}.{number % 250 + 1}"}
                body = {"name": f"person{number}", "password": "not the right one"}
                async with web.post(f"{url}/auth/login", json=body, headers=away) as response:
                    await response.read()
                    finished.append(response.status)

            people = [asyncio.ensure_future(sign_in(number)) for number in range(AT_ONCE)]
            served: list[int] = []  # how many sign-ins had ended when each ordinary request was answered
            while len(finished) < AT_ONCE and not any(person.done() and person.exception() for person in people):
                async with web.get(f"{url}/queue", headers=headers) as response:
                    assert response.status == 200
                    await response.read()
                served.append(len(finished))
            await asyncio.gather(*people)
    assert set(finished) <= {401, 429} and finished.count(401) > AT_ONCE // 2
    for hundred in range(1, AT_ONCE // 100 - 1):  # all along, not only before the first and after the last
        assert sum(1 for ended in served if ended // 100 == hundred) >= EACH, served
