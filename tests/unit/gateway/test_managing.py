"""Managing access over HTTP, as a page and as programs do it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.auth.audit_store import AuditStore
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.serving import Listen, serving
from comfyops.gateway.settings import BackendAddress, GatewaySettings
from comfyops.simulator import Simulator, SimulatorSettings
from tests.unit.gateway.house import ROUNDS, add_token, add_user

PASSWORD = "four words of nothing"


@dataclass
class Office:
    """A served gateway, its accounts, and a client."""

    url: str
    store: Store
    folder: Path

    async def ask(
        self, session: aiohttp.ClientSession, method: str, path: str, **options: Any
    ) -> tuple[int, dict[str, Any]]:
        async with session.request(method, self.url + path, **options) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    @asynccontextmanager
    async def signed_in(self, name: str) -> AsyncIterator[aiohttp.ClientSession]:
        """A browser in which somebody has signed in."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, headers={"Sec-Fetch-Site": "same-origin"}) as session:
            body = {"name": name, "password": PASSWORD}
            status, _ = await self.ask(session, "POST", "/auth/login", json=body)
            assert status == 200
            yield session

    @asynccontextmanager
    async def with_token(self, name: str, role: str) -> AsyncIterator[aiohttp.ClientSession]:
        """A program with a token."""
        headers = {"Authorization": f"Bearer {add_token(self.store, name, role)}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield session

    def record(self) -> list[tuple[str, str, str, bool]]:
        """What the record says was done to accounts: who, what, to what, whether it was allowed."""
        kept = AuditStore.at_home(self.folder)
        found = [item.event for item in kept.newest(200, action="auth.")]
        kept.close()
        return [(item.name, item.action, item.target, item.allowed) for item in reversed(found)]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        settings = GatewaySettings((BackendAddress(simulator.url),))
        async with serving(settings, AuthSettings(bcrypt_rounds=ROUNDS), tmp_path, Listen(port=0)) as served:
            store = Store.at_home(tmp_path)
            yield Office(served.url, store, tmp_path)
            store.close()


async def works(office: Office, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.request("GET", f"{office.url}/queue", headers=headers) as answer:
        return answer.status == 200


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that another connection to the store has changed."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


async def ends(office: Office, token: str) -> None:
    """Wait until a token lets nobody in any more."""

    async def ended() -> bool:
        return not await works(office, token)

    await until(ended)


async def signed_out(office: Office, session: aiohttp.ClientSession) -> None:
    """Wait until a session lets nobody in any more."""

    async def ended() -> bool:
        return (await office.ask(session, "GET", "/auth/session"))[0] == 401

    await until(ended)


async def test_a_token_lives_over_http_from_its_making_to_its_end(office: Office) -> None:
    async with office.with_token("boss", "administrator") as boss:
        body = {"name": "ci", "role": "artist", "expires": "1h"}
        status, made = await office.ask(boss, "POST", "/auth/tokens", json=body)
        assert status == 201 and await works(office, made["token"])
        assert made["expires_at"] - made["created_at"] == pytest.approx(3600)
        status, listed = await office.ask(boss, "GET", "/auth/tokens")
        assert [item["name"] for item in listed["tokens"]] == ["boss", "ci"]
        assert "hash" not in json.dumps(listed) and made["token"] not in json.dumps(listed)
        status, fresh = await office.ask(boss, "POST", "/auth/tokens/ci/rotate", json={"overlap": "1h"})
        assert status == 201 and fresh["owner"] == made["owner"]
        assert await works(office, fresh["token"]) and await works(office, made["token"])
        for name in ("ci", made["id"]):
            assert (await office.ask(boss, "DELETE", f"/auth/tokens/{name}"))[0] == 200
        await ends(office, fresh["token"])
        await ends(office, made["token"])
    actions = [item for item in office.record() if item[1] != "auth.session.end"]
    assert [(who, what, allowed) for who, what, _, allowed in actions] == [
        ("boss", "auth.token.create", True),
        ("boss", "auth.token.rotate", True),
        ("boss", "auth.token.revoke", True),
        ("boss", "auth.token.revoke", True),
    ]


async def test_users_and_roles_are_made_and_changed(office: Office) -> None:
    async with office.with_token("boss", "administrator") as boss:
        scopes = ["self", "server:read"]
        assert (await office.ask(boss, "PUT", "/auth/roles/watcher", json={"scopes": scopes}))[1]["scopes"] == scopes
        body = {"name": "ann", "role": "watcher", "password": PASSWORD}
        assert (await office.ask(boss, "POST", "/auth/users", json=body))[0] == 201
        async with office.signed_in("ann") as ann:
            assert (await office.ask(ann, "GET", "/auth/session"))[1]["scopes"] == scopes
        assert (await office.ask(boss, "DELETE", "/auth/roles/watcher"))[0] == 400, "it is in use"
        assert (await office.ask(boss, "POST", "/auth/users/ann/role", json={"role": "viewer"}))[1]["role"] == "viewer"
        assert (await office.ask(boss, "DELETE", "/auth/roles/watcher"))[0] == 200
        assert "watcher" not in (await office.ask(boss, "GET", "/auth/roles"))[1]["roles"]
        other = {"password": "other words of nothing"}
        assert (await office.ask(boss, "POST", "/auth/users/ann/password", json=other))[0] == 200
        assert (await office.ask(boss, "POST", "/auth/users/ann/disable"))[1]["disabled"] is True
        assert (await office.ask(boss, "POST", "/auth/users/ann/enable"))[1]["disabled"] is False
        users = (await office.ask(boss, "GET", "/auth/users"))[1]["users"]
        assert [(user["name"], user["role"]) for user in users] == [("ann", "viewer")]
        assert PASSWORD not in json.dumps(users) and "$2b$" not in json.dumps(users)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/auth/tokens", {"name": "x", "role": "nobody"}, 400),
        ("POST", "/auth/tokens", {"name": "x"}, 400),
        ("POST", "/auth/tokens", {"name": "x", "role": "artist", "more": 1}, 400),
        ("POST", "/auth/tokens", {"name": "x", "role": "artist", "expires": "soon"}, 400),
        ("POST", "/auth/tokens", {"name": 5, "role": "artist"}, 400),
        ("POST", "/auth/tokens", ["x"], 400),
        ("POST", "/auth/users", {"name": "x", "role": "artist", "password": "short"}, 400),
        ("POST", "/auth/users/nobody/disable", None, 400),
        ("DELETE", "/auth/tokens/nobody", None, 400),
        ("DELETE", "/auth/sessions/nobody", None, 400),
        ("DELETE", "/auth/sessions", None, 400),
        ("PUT", "/auth/roles/administrator", {"scopes": []}, 400),
        ("PUT", "/auth/roles/x", {"scopes": ["everything"]}, 400),
        ("GET", "/auth/tokens/x/y/z", None, 404),
        ("DELETE", "/auth/users", None, 405),
        ("GET", "/audit?limit=0", None, 400),
        ("GET", "/audit?limit=many", None, 400),
    ],
)
async def test_what_cannot_be_is_refused_in_plain_words(
    office: Office, method: str, path: str, body: Any, status: int
) -> None:
    async with office.with_token("boss", "administrator") as boss:
        answered, answer = await office.ask(boss, method, path, json=body)
        assert answered == status
        assert answer["error"]["code"] and answer["error"]["message"].endswith(".")
        assert "Traceback" not in json.dumps(answer) and "pydantic" not in json.dumps(answer)


async def test_the_last_administrator_stays_one(office: Office) -> None:
    add_user(office.store, "ann", PASSWORD, "administrator")
    add_user(office.store, "bob", PASSWORD, "artist")
    async with office.with_token("boss", "administrator") as boss, office.signed_in("ann") as ann:
        for who, path, body in (
            (ann, "disable", None),
            (boss, "disable", None),
            (boss, "role", {"role": "operator"}),
        ):
            status, answer = await office.ask(who, "POST", f"/auth/users/ann/{path}", json=body)
            assert (status, answer["error"]["code"]) == (409, "last_administrator")
            assert "Make another administrator first" in answer["error"]["details"]
        assert (await office.ask(ann, "GET", "/auth/session"))[1]["role"] == "administrator", "nothing has changed"
        for path, body in (("role", {"role": "administrator"}), ("disable", None)):
            assert (await office.ask(boss, "POST", f"/auth/users/bob/{path}", json=body))[0] == 200
        assert (await office.ask(boss, "POST", "/auth/users/ann/disable"))[0] == 409, "bob cannot sign in"
        assert (await office.ask(boss, "POST", "/auth/users/ann/role", json={"role": "administrator"}))[0] == 200
        assert (await office.ask(boss, "POST", "/auth/users/bob/enable"))[0] == 200
        assert (await office.ask(boss, "POST", "/auth/users/ann/disable"))[0] == 200
        refused = (await office.ask(boss, "GET", "/audit?refused=true&action=auth.user"))[1]["records"]
    assert [(item["name"], item["action"], item["target"]) for item in refused] == [
        ("boss", "auth.user.disable", "ann"),
        ("boss", "auth.user.role", "ann"),
        ("boss", "auth.user.disable", "ann"),
        ("ann", "auth.user.disable", "ann"),
    ]


async def test_of_two_administrators_who_are_disabled_at_once_one_stays(office: Office) -> None:
    names = ("ann", "bob")
    for name in names:
        add_user(office.store, name, PASSWORD, "administrator")
    async with office.with_token("boss", "administrator") as boss:
        for _ in range(5):
            asked = (office.ask(boss, "POST", f"/auth/users/{name}/disable") for name in names)
            assert sorted(status for status, _ in await asyncio.gather(*asked)) == [200, 409]
            left = [user.name for user in office.store.users.all() if not user.disabled]
            assert len(left) == 1
            for name in names:
                assert (await office.ask(boss, "POST", f"/auth/users/{name}/enable"))[0] == 200


async def test_nobody_else_manages_access(office: Office) -> None:
    paths = ("/auth/tokens", "/auth/users", "/auth/roles", "/auth/sessions", "/audit", "/audit/verify")
    async with office.with_token("op", "operator") as operator, aiohttp.ClientSession() as nobody:
        for path in (*paths, *(f"/api{path}" for path in paths)):
            assert (await office.ask(operator, "GET", path))[0] == 403
            assert (await office.ask(nobody, "GET", path))[0] == 401
        body = {"name": "mine", "role": "administrator"}
        assert (await office.ask(operator, "POST", "/auth/tokens", json=body))[0] == 403
        for path in ("/auth/own/tokens", "/auth/own/sessions"):
            assert (await office.ask(operator, "GET", path))[0] == 403, "a token makes no further tokens"


async def test_somebody_has_tokens_of_their_own_that_never_may_more_than_they(office: Office) -> None:
    for name, role in (("ann", "operator"), ("bob", "artist")):
        add_user(office.store, name, PASSWORD, role)
    async with office.signed_in("ann") as ann, office.signed_in("bob") as bob:
        status, made = await office.ask(ann, "POST", "/auth/own/tokens", json={"name": "anns", "expires": "1d"})
        assert status == 201 and made["role"] == "operator"
        status, low = await office.ask(ann, "POST", "/auth/own/tokens", json={"name": "low", "role": "viewer"})
        assert status == 201
        for role in ("administrator", "operator"):
            body = {"name": "high", "role": role}
            assert (await office.ask(bob, "POST", "/auth/own/tokens", json=body))[0] == 403
        assert (await office.ask(bob, "GET", "/auth/own/tokens"))[1] == {"tokens": []}
        assert (await office.ask(bob, "DELETE", "/auth/own/tokens/anns"))[0] == 404
        assert (await office.ask(ann, "DELETE", "/auth/own/tokens/low"))[0] == 200
        await ends(office, low["token"])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made['token']}"}) as program:
        assert "jobs:all" in (await office.ask(program, "GET", "/auth/session"))[1]["scopes"]
        office.store.users.set_role("ann", "artist", office.store.clock())

        async def lowered() -> bool:
            return "jobs:all" not in (await office.ask(program, "GET", "/auth/session"))[1]["scopes"]

        await until(lowered)


async def test_sessions_are_listed_and_ended_with_their_websockets(office: Office) -> None:
    add_user(office.store, "ann", PASSWORD, "artist")
    async with office.signed_in("ann") as first, office.signed_in("ann") as second:
        mine = (await office.ask(first, "GET", "/auth/own/sessions"))[1]["sessions"]
        assert len(mine) == 2 and sum(item["current"] for item in mine) == 1
        other = next(item["id"] for item in mine if not item["current"])
        async with second.ws_connect(f"{office.url}/ws") as listener:
            assert (await office.ask(first, "DELETE", f"/auth/own/sessions/{other}"))[0] == 200
            async with asyncio.timeout(10):
                while not listener.closed:
                    await listener.receive()
            assert listener.close_code == 1008
        await signed_out(office, second)
        async with office.with_token("boss", "administrator") as boss:
            left = (await office.ask(boss, "GET", "/auth/sessions"))[1]["sessions"]
            assert [item["user"] for item in left] == ["ann"]
            assert (await office.ask(boss, "DELETE", "/auth/sessions?user=ann"))[1]["ended"] == [left[0]["id"]]
        await signed_out(office, first)


async def test_another_page_cannot_manage_access_with_somebodys_session(office: Office) -> None:
    add_user(office.store, "boss", PASSWORD, "administrator")
    async with office.signed_in("boss") as boss:
        body = {"name": "x", "role": "administrator"}
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": ""}):
            assert (await office.ask(boss, "POST", "/auth/tokens", json=body, headers=headers))[0] == 403
        assert [item.name for item in office.store.tokens.all()] == []


async def test_the_record_is_read_and_verified(office: Office) -> None:
    async with office.with_token("boss", "administrator") as boss:
        await office.ask(boss, "DELETE", "/auth/tokens/nobody")
        _, found = await office.ask(boss, "GET", "/audit?action=auth.&refused=true")
        (line,) = found["records"]
        assert (line["action"], line["name"], line["target"]) == ("auth.token.revoke", "boss", "nobody")
        assert line["address"] == "127.0.0.1" and line["token_id"] and line["allowed"] is False
        _, verdict = await office.ask(boss, "GET", "/audit/verify")
        assert verdict["whole"] is True and verdict["records"] >= 1
        assert (await office.ask(boss, "GET", f"/audit/verify?head={verdict['hash']}"))[1]["whole"] is True
        assert (await office.ask(boss, "GET", "/audit/verify?head=made-up"))[1]["whole"] is False
