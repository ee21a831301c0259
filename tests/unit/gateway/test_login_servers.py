"""Servers with ComfyUI-Login as backends: their hash goes up, never down; their weaknesses stay behind the door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from comfyops.gateway.diagnose import diagnose
from comfyops.gateway.settings import BackendAddress
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.fake_login import HASH, LoginServer, login_server
from tests.unit.gateway.house import House, finished, gateway_to


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[House, LoginServer]]:
    """A gateway before a server with ComfyUI-Login."""
    async with (
        login_server() as server,
        gateway_to(tmp_path, (BackendAddress(server.url, HASH),)) as (url, gateway, store, ledger),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
    ):
        yield House(url, server.url, gateway, store, ledger, session), server


async def test_a_workflow_runs_and_its_messages_come(guarded: tuple[House, LoginServer]) -> None:
    home, _ = guarded
    token = home.token("a")
    header = {"Authorization": f"Bearer {token}"}
    async with home.session.ws_connect(home.url + "/ws?clientId=me", headers=header) as socket:
        prompt = json.loads(api_format.dumps(graphs.picture()))
        status, answer = await home.ask("POST", "/prompt", token, json={"prompt": prompt, "client_id": "me"})
        assert status == 200, answer
        entry = await finished(home, token, answer["prompt_id"])
        assert entry["status"]["status_str"] == "success"
        async with asyncio.timeout(20):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and message.json()["type"] == "execution_success":
                    break


async def test_the_hash_goes_up_and_never_down(guarded: tuple[House, LoginServer]) -> None:
    home, server = guarded
    token = home.token("boss", "administrator")
    for path in ("/internal/logs", "/internal/logs/raw", "/api/internal/logs", "/system_stats", "/queue", "/login"):
        async with home.session.get(home.url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
            text = await answer.text()
            assert HASH not in text + str(answer.headers) and token not in text, path
            if path == "/internal/logs":
                assert answer.status == 200 and "***" in text
    assert {header for header, _ in server.shown} == {f"Bearer {HASH}"}
    assert not any(token in query for _, query in server.shown)


@pytest.mark.parametrize("credential", [HASH, "", "wrong"])
async def test_the_servers_own_hash_opens_nothing(guarded: tuple[House, LoginServer], credential: str) -> None:
    home, server = guarded
    before = len(server.shown)
    for path in ("/queue", f"/queue?token={credential}", "/userdata/x.js", "/history/x.css", "/internal/logs"):
        status, _ = await home.ask("GET", path, credential or None)
        assert status == 401, path
    asked = [query for _, query in server.shown[before:] if credential and credential in query]
    assert asked == []


async def test_diagnose_names_its_weaknesses_and_none_gets_through(guarded: tuple[House, LoginServer]) -> None:
    home, server = guarded
    bad = {item.name: item.state for item in await diagnose(server.url, HASH) if item.state != "ok"}
    suffixes = {name for name in bad if name.startswith("suffix ") and bad[name] == "open"}
    assert len(suffixes) == 5, bad
    assert bad["right token in the query"] == bad["credential in the log"] == "open"
    assert sum(state == "broken" for name, state in bad.items() if name.startswith("malformed header")) >= 3
    outcomes = await diagnose(home.url, home.token("a", "administrator"))
    assert [item for item in outcomes if item.state != "ok"] == []


async def test_diagnose_sees_a_password_that_nobody_has_set_and_guests(tmp_path: Path) -> None:
    async with login_server("", guests=True) as server:
        opened = {item.name for item in await diagnose(server.url) if item.state == "open"}
    assert {"empty token in the query", "websocket, empty token", "first visitor", "guest at the login"} <= opened
