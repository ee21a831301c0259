"""Where requests come from and by what: TLS, proxies, pages of other origins."""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
from pathlib import Path

import aiohttp
import pytest

from comfyops.auth.authenticator import COOKIE
from comfyops.errors import UsageError
from comfyops.gateway import browser
from comfyops.gateway.listener import listening
from comfyops.gateway.proxies import Proxies
from comfyops.gateway.settings import Limits
from tests.certificate import self_signed
from tests.unit.gateway.house import House, durable_house, house

PASSWORD = "four words of nothing"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that it has signed itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


async def test_it_serves_by_tls_with_websockets_and_cookies_that_are_never_sent_without(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    file, key = certificate
    trusting = ssl.create_default_context(cafile=str(file))
    async with house(tmp_path) as home:
        home.user("ann", PASSWORD)
        bearer = {"Authorization": f"Bearer {home.token('a')}"}
        async with listening(home.gateway, "127.0.0.1", 0, certificate=str(file), key=str(key)) as url:
            assert url.startswith("https://127.0.0.1:")
            async with home.session.get(f"{url}/queue", headers=bearer, ssl=trusting) as answer:
                assert answer.status == 200
            async with home.session.ws_connect(f"{url}/ws", headers=bearer, ssl=trusting) as listener:
                assert json.loads((await listener.receive()).data)["type"] == "status"
            body = {"name": "ann", "password": PASSWORD}
            async with home.session.post(f"{url}/auth/login", json=body, ssl=trusting) as answer:
                flags = answer.headers["Set-Cookie"]
            assert all(flag in flags for flag in ("; Secure", "; HttpOnly", "; SameSite=Lax"))
            with pytest.raises(aiohttp.ClientError):
                await home.session.get(f"{url.replace('https', 'http')}/health")
            with pytest.raises(aiohttp.ClientError):
                await home.session.get(f"{url}/health")
        async with home.session.post(f"{home.url}/auth/login", json=body) as answer:
            assert "Secure" not in answer.headers["Set-Cookie"]


async def test_files_come_whole_by_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    file, key = certificate
    trusting, data = ssl.create_default_context(cafile=str(file)), os.urandom(5_000_000)
    async with durable_house(tmp_path, dispatch=False) as home:
        bearer = {"Authorization": f"Bearer {home.token('ann')}"}
        form = aiohttp.FormData()
        form.add_field("image", io.BytesIO(data), filename="a.bin")
        async with (
            listening(home.gateway, "127.0.0.1", 0, certificate=str(file), key=str(key)) as url,
            home.session.post(f"{url}/upload/image", data=form, headers=bearer, ssl=trusting) as sent,
        ):
            query = {**await sent.json(), "filename": (await sent.json())["name"]}
            async with home.session.get(f"{url}/view", params=query, headers=bearer, ssl=trusting) as answer:
                assert hash(await answer.read()) == hash(data)


async def test_connections_count_before_their_handshake(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """Who never ends one would hold as many as he likes."""
    file, key = certificate
    trusting = ssl.create_default_context(cafile=str(file))
    async with (
        house(tmp_path, limits=Limits(connections=3)) as home,
        listening(home.gateway, "127.0.0.1", 0, certificate=str(file), key=str(key)) as url,
    ):
        port = int(url.rpartition(":")[2])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        idle[1][1].write(b"\x16\x03\x01")

        async def served(source: str = "127.0.0.1") -> bool:
            connector = aiohttp.TCPConnector(ssl=trusting, local_addr=(source, 0))
            async with aiohttp.ClientSession(connector=connector) as session:
                try:
                    async with session.get(f"{url}/health") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

        assert not await served() and await served("127.0.0.2")
        for _, writer in idle[1:]:
            writer.close()
        async with asyncio.timeout(20):
            while not await served():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
    idle[0][1].close()  # nor does it keep the gateway from ending


async def test_files_that_are_no_certificate_are_told(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    other = tmp_path / "other.pem"
    other.write_text("nothing of the kind")
    async with house(tmp_path / "home") as home:
        for file, key in ((other, certificate[1]), (certificate[0], other), (certificate[0], certificate[0])):
            with pytest.raises(UsageError, match="Certificate or key"):
                async with listening(home.gateway, "127.0.0.1", 0, certificate=str(file), key=str(key)):
                    pass


async def flags(home: House, **headers: str) -> str:
    body = {"name": "ann", "password": PASSWORD}
    async with home.session.post(f"{home.url}/auth/login", json=body, headers=headers) as answer:
        assert answer.status == 200
        found: str = answer.headers["Set-Cookie"]
        assert COOKIE in found
        return found


async def test_a_proxys_word_on_tls_counts_where_it_is_trusted(tmp_path: Path) -> None:
    for folder, proxies, secure in (("a", ["127.0.0.1"], True), ("b", ["10.0.0.1"], False)):
        async with house(tmp_path / folder, proxies=Proxies.of(proxies)) as home:
            home.user("ann", PASSWORD)
            assert ("; Secure" in await flags(home, **{"X-Forwarded-Proto": "https"})) is secure
            assert "; Secure" not in await flags(home, **{"X-Forwarded-Proto": "http"})


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, made up", "10.0.0.1"),
        ("10.0.0.1", "made up, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", "1.1.1.1:80", "1.1.1.1"),
        ("", "1.1.1.1", ""),
    ],
)
def test_an_address_is_the_last_one_that_somebody_trusted_names(peer: str, forwarded: str, found: str) -> None:
    assert browser.client_address(peer, [forwarded.encode()], Proxies.of(["10.0.0.0/8"])) == found


async def test_pages_of_listed_origins_may_call_and_others_may_not(tmp_path: Path) -> None:
    friend = "https://pages.example"
    async with house(tmp_path, origins=frozenset({friend})) as home:
        token = {"Authorization": f"Bearer {home.token('a')}"}
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, status in ((friend, 204), ("https://evil.example", 403), ("null", 403), (f"{friend}.evil", 403)):
            headers = {"Origin": origin, **asked}
            async with home.session.options(f"{home.url}/prompt", headers=headers) as answer:
                assert answer.status == status, origin
                allowed = answer.headers.get("Access-Control-Allow-Origin")
                assert allowed == (friend if status == 204 else None)
                assert "Access-Control-Allow-Credentials" not in answer.headers
            async with home.session.get(f"{home.url}/queue", headers={**token, "Origin": origin}) as answer:
                assert answer.status == (200 if status == 204 else 403)
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        async with home.session.get(f"{home.url}/queue", headers={"Origin": friend}) as answer:
            assert answer.status == 401, "a listed origin is no credential"
            assert answer.headers["Access-Control-Allow-Origin"] == friend and "Origin" in answer.headers["Vary"]
        async with home.session.ws_connect(f"{home.url}/ws", headers={**token, "Origin": friend}) as listener:
            assert (await listener.receive()).type is aiohttp.WSMsgType.TEXT
