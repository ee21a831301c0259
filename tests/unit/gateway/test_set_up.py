"""The page on which the first administrator is made, by who holds the one-time secret."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from comfyops.auth.credentials import digest
from tests.unit.gateway.house import House, house

PASSWORD = "four words of nothing"


async def post(home: House, session: aiohttp.ClientSession, **fields: str) -> tuple[int, str, str]:
    async with session.post(f"{home.url}/auth/setup", data=fields, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer.headers.get("Location", "")


async def test_who_has_the_secret_makes_the_first_administrator_on_a_page(tmp_path: Path) -> None:
    async with (
        house(tmp_path) as home,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        home.store.users.offer_setup(digest("the one-time secret"), home.store.clock() + 600)
        async with session.get(f"{home.url}/auth/login?setup") as page:
            assert "One-time secret" in await page.text() and "default-src 'none'" in str(page.headers)
        given = {"secret": "<made up>", "name": "boss", "password": PASSWORD}
        status, text, _ = await post(home, session, **given)
        assert status == 401 and 'role="alert"' in text and "<made up>" not in text
        status, text, _ = await post(home, session, **given | {"secret": "the one-time secret", "password": "short"})
        assert status == 400 and "characters" in text and home.store.users.all() == ()
        status, _, place = await post(home, session, **given | {"secret": "the one-time secret"})
        assert (status, place) == (303, "/")
        async with session.get(f"{home.url}/auth/session") as answer:
            assert (await answer.json())["role"] == "administrator"
        status, _, _ = await post(home, session, **given | {"secret": "the one-time secret", "name": "other"})
        assert status == 401 and len(home.store.users.all()) == 1
        assert ("set_up", False) in {(line.action, line.allowed) for line in home.ledger.lines}
