"""The listener that asks for no credential: under one name, on this machine only, and for no page of a browser."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.auth.authenticator import Authenticator
from comfyops.config import AuthSettings
from comfyops.errors import AccountError, PortInUseError, UsageError
from comfyops.gateway.listener import opened_listening
from comfyops.gateway.opened import OpenDoor, Opened, opened, through
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import ROUNDS, House, finished, house

HERE = ("127.0.0.1", 0)


@asynccontextmanager
async def open_house(folder: Path, where: Opened, **options: Any) -> AsyncIterator[tuple[House, str]]:
    """A gateway, and the address of its listener without credentials."""
    async with house(folder, **options) as home:
        authenticator = Authenticator(home.store, AuthSettings(bcrypt_rounds=ROUNDS))
        try:
            standing = authenticator.standing(where.owner, where.role)
            door = OpenDoor(home.gateway.settings, authenticator, standing)
            async with opened_listening(through(door, home.gateway), where) as address:
                yield home, address
        finally:
            authenticator.close()


async def ask(home: House, address: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with home.session.request(method, address + path, **options) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_client_without_a_token_works_as_the_owner_and_is_recorded_so(tmp_path: Path) -> None:
    async with open_house(tmp_path, Opened(HERE, owner="studio")) as (home, address):
        async with home.session.ws_connect(f"{address}/ws?clientId=c") as listener:
            assert json.loads((await listener.receive()).data)["data"]["sid"] == "c"
            body = {"prompt": api_format.dump(graphs.picture()), "client_id": "c"}
            status, answer = await ask(home, address, "POST", "/prompt", json=body)
            assert status == 200
            job = answer["prompt_id"]
            async with asyncio.timeout(15):
                while json.loads((await listener.receive()).data)["type"] != "execution_success":
                    pass
        await finished(home, home.token("boss", "operator"), job)
        assert job in (await ask(home, address, "GET", "/history"))[1]
        assert await home.ask("GET", f"/history/{job}", home.token("bob")) == (200, {})
        line = next(item for item in home.ledger.lines if item.target == "POST /prompt")
        assert line.principal is not None and line.allowed and line.address == "127.0.0.1"
        assert (line.principal.name, line.principal.role, line.principal.token_id) == ("studio", "artist", "open")
        assert (await home.ask("GET", "/queue"))[0] == 401, "the gateway's own port asks for a credential still"


async def test_the_role_bounds_what_is_done_without_a_credential(tmp_path: Path) -> None:
    async with open_house(tmp_path, Opened(HERE, role="viewer")) as (home, address):
        assert (await ask(home, address, "GET", "/queue"))[0] == 200
        body = {"prompt": api_format.dump(graphs.picture())}
        assert (await ask(home, address, "POST", "/prompt", json=body))[0] == 403
        for path in ("/auth/tokens", "/audit", "/internal/logs"):
            assert (await ask(home, address, "GET", path))[0] == 403


async def test_other_scopes_of_the_role_count_within_a_second(tmp_path: Path) -> None:
    async with open_house(tmp_path, Opened(HERE)) as (home, address):
        assert (await ask(home, address, "GET", "/history"))[0] == 200
        home.store.roles.set("artist", ["self", "access:manage"], home.store.clock())
        async with asyncio.timeout(10):
            while (await ask(home, address, "GET", "/history"))[0] != 403:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.02)
        assert (await ask(home, address, "GET", "/auth/tokens"))[0] == 403, "it manages access by no role"


REQUESTS = (
    ({"Host": "evil.example"}, 421),
    ({"Host": "known.example"}, 421),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "http://pages.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "9.9.9.9"}, 200),
    ({"Authorization": "Bearer wrong"}, 401),
    ({}, 200),
)


async def test_pages_of_browsers_and_wrong_credentials_are_kept_out(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "hosts": frozenset({"known.example", "*"}),
        "origins": frozenset({"http://pages.example"}),
        "proxies": frozenset({"127.0.0.1"}),
    }
    async with open_house(tmp_path, Opened(HERE), **options) as (home, address):
        for headers, status in REQUESTS:
            assert (await ask(home, address, "GET", "/queue", headers=headers))[0] == status, headers
            answer = await home.session.post(f"{address}/interrupt", json={}, headers=headers)
            assert answer.status == status, headers
            assert await handshake(home, address, headers) == (101 if status == 200 else status), headers
        assert {line.address for line in home.ledger.lines} == {"127.0.0.1"}


async def handshake(home: House, address: str, headers: dict[str, str]) -> int:
    try:
        async with home.session.ws_connect(f"{address}/ws", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


async def test_a_right_credential_counts_there_too(tmp_path: Path) -> None:
    async with open_house(tmp_path, Opened(HERE)) as (home, address):
        headers = {"Authorization": f"Bearer {home.token('boss', 'operator')}"}
        assert (await ask(home, address, "GET", "/auth/session", headers=headers))[1]["name"] == "boss"
        assert (await ask(home, address, "GET", "/auth/session"))[1]["name"] == "local"


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_a_unix_socket_has_its_mode_and_goes_with_the_gateway(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:  # what a gateway that was killed leaves behind
        dead.bind(str(path))
    async with open_house(tmp_path / "home", Opened(path, mode=mode)) as (home, address):
        assert address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == mode
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            async with session.get("http://localhost/queue") as answer:
                assert answer.status == 200
            async with session.post("http://localhost/interrupt", json={}) as answer:
                assert answer.status == 200
        assert home.ledger.lines[-1].address == "unix"
        with pytest.raises(PortInUseError, match="already"):
            async with opened_listening(home.gateway, Opened(path)):
                pass
    assert not path.exists()


async def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    async with house(tmp_path / "home") as home:
        with pytest.raises(PortInUseError, match="no socket"):
            async with opened_listening(home.gateway, Opened(path)):
                pass
        with pytest.raises(UsageError, match="cannot listen"):
            async with opened_listening(home.gateway, Opened(tmp_path / "none" / "socket")):
                pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0:8190", "[::]:8190", "192.168.1.5:80", "example.com:80", "8.8.8.8:1", ":8190", "127.0.0.1", "unix:"),
        *("127.0.0.1:99999", "unix:" + "x" * 200, "", "[::1]", "http://127.0.0.1:1", "127.0.0.1:1:2"),
    ],
)
def test_places_that_others_reach_or_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        opened(text, "local", "artist", "600")


def test_places_of_this_machine_are_read() -> None:
    assert opened("127.0.0.1:8190", "local", "artist", "600").place == ("127.0.0.1", 8190)
    assert opened("localhost:8190", "local", "artist", "600").place == ("127.0.0.1", 8190)
    assert opened("[::1]:8190", "local", "artist", "600").place == ("::1", 8190)
    assert opened("unix:/run/x.sock", "local", "artist", "0660") == Opened(Path("/run/x.sock"), mode=0o660)


def test_only_private_modes_of_a_socket_are_taken() -> None:
    for mode in ("666", "777", "0o600", "", "604"):
        with pytest.raises(UsageError, match="mode"):
            opened("unix:/run/x.sock", "local", "artist", mode)


async def test_roles_that_manage_access_need_a_credential(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        authenticator = Authenticator(home.store, AuthSettings(bcrypt_rounds=ROUNDS))
        for role in ("administrator", "nobody"):
            with pytest.raises(AccountError, match=role):
                authenticator.standing("local", role)
        with pytest.raises(AccountError, match="name"):
            authenticator.standing("no name", "artist")
        authenticator.close()
