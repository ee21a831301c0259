"""Each weakness that was proven in servers with a login, as an attack on the gateway that must fail."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from comfyops.auth.authenticator import COOKIE
from comfyops.config import AuthSettings
from tests.unit.gateway.house import ROUNDS, House, house

PASSWORD = "four words of nothing"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "home") as made:
        yield made


async def raw(home: House, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    """A request whose path is sent as it is."""
    url = URL(home.url + path, encoded=True)
    async with home.session.request(method, url, headers=headers, allow_redirects=False) as response:
        return response.status, await response.text(), {key.lower(): value for key, value in response.headers.items()}


async def sign_in(home: House, name: str, password: str) -> aiohttp.ClientResponse:
    return await home.session.post(home.url + "/auth/login", json={"name": name, "password": password})


@pytest.mark.parametrize("path", ["/queue?token=", "/queue?token", "/prompt?token=", "/api/queue?token=&token="])
async def test_01_an_empty_token_opens_nothing_before_anybody_has_an_account(home: House, path: str) -> None:
    assert (await raw(home, path))[0] == 401
    assert (await raw(home, path, "POST"))[0] in (401, 403)
    assert (await raw(home, "/queue", Authorization="Bearer "))[0] == 401


async def test_02_the_first_visitor_does_not_become_administrator(home: House) -> None:
    for body in ({"name": "me", "password": PASSWORD}, {"secret": "", "name": "me", "password": PASSWORD}):
        for path in ("/auth/login", "/auth/setup"):
            assert (await home.ask("POST", path, json=body))[0] in (400, 401, 429)
    assert home.store.users.all() == ()


async def test_03_a_sign_in_without_a_name_breaks_nothing(home: House) -> None:
    for body in ({}, {"password": "x"}, {"name": ""}):
        assert (await home.ask("POST", "/auth/login", json=body))[0] in (401, 429)
    token = home.token("a")
    assert (await home.ask("GET", "/queue", token))[0] == 200


@pytest.mark.parametrize("suffix", ["x.js", "x.css", "x.css.map", "x.ico"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
async def test_04_no_ending_of_a_path_leads_around_the_login(home: House, suffix: str, method: str) -> None:
    for start in ("/userdata/", "/settings/", "/api/userdata/", "/api/api/settings/", "/history/", "/"):
        status, body, _ = await raw(home, start + suffix, method)
        assert status == 401 and json.loads(body)["error"]["code"] == "unauthenticated"
    assert (await raw(home, "/userdata/any.json/move/out.js", "POST"))[0] == 401


@pytest.mark.parametrize("header", ["Bearer", "Basic", "a b c", "Bearer  ", "Basic %%%", "Bearer é", "\t", "Digest x"])
async def test_05_malformed_headers_are_401_and_never_a_trace(home: House, header: str) -> None:
    status, body, headers = await raw(home, "/queue", Authorization=header)
    assert status == 401 and "Traceback" not in body and headers["www-authenticate"].startswith("Bearer")


async def test_05_two_authorization_headers_are_refused(home: House) -> None:
    right = f"Bearer {home.token('a')}"
    headers = [("Authorization", right), ("Authorization", "Bearer x")]
    async with home.session.get(home.url + "/queue", headers=headers) as response:
        assert response.status == 401


@pytest.mark.parametrize("body", [b"", b"name=x", b"{", b"\xff\xfe", b"name=a&password=" + b"x" * 200])
async def test_06_odd_sign_ins_are_refused_in_plain_words(home: House, body: bytes) -> None:
    status, text = await home.ask("POST", "/auth/login", data=body)
    assert status in (400, 401, 429) and "Traceback" not in str(text)


async def test_06_a_password_of_more_than_72_bytes_counts_whole(home: House) -> None:
    long = "several words " * 8
    home.user("ann", long + "a")
    assert (await sign_in(home, "ann", long + "b")).status == 401
    assert (await sign_in(home, "ann", long + "a")).status == 200


async def test_07_08_neither_a_part_nor_the_stored_hash_of_a_token_is_a_credential(home: House) -> None:
    token = home.token("a")
    (kept,) = home.store.tokens.all()
    for guess in (
        token[:-1],
        token + "A",
        token.upper(),
        kept.hash,
        kept.id,
        base64.b64encode(b"x:" + kept.hash.encode()),
    ):
        text = guess.decode() if isinstance(guess, bytes) else guess
        assert (await raw(home, "/queue", Authorization=f"Bearer {text}"))[0] in (401, 429)


async def test_09_no_credential_is_recorded_or_answered(home: House, caplog: pytest.LogCaptureFixture) -> None:
    token = home.token("a")
    home.user("ann", PASSWORD)
    answer = await sign_in(home, "ann", PASSWORD)
    said = [await answer.text(), str(home.ledger.lines), caplog.text]
    said.append(str(await home.ask("GET", f"/queue?token={token}")))
    said.append(str(await home.ask("POST", "/interrupt", token)))
    assert not any(token in text or PASSWORD in text for text in said)


async def test_10_11_guests_see_neither_logs_nor_pictures_and_submit_nothing(tmp_path: Path) -> None:
    settings = AuthSettings(guest_mode=True, bcrypt_rounds=ROUNDS)
    async with house(tmp_path, auth=lambda: settings) as home:
        assert (await home.ask("GET", "/system_stats"))[0] == 200
        for path in ("/internal/logs", "/history", "/view?filename=x.png", "/userdata/x.json", "/api/jobs"):
            assert (await home.ask("GET", path))[0] in (401, 403)
        for path in ("/prompt", "/api/prompt", "/queue", "/interrupt", "/free", "/settings", "/upload/image"):
            assert (await home.ask("POST", path, json={}))[0] in (401, 403)


async def test_11_without_guests_nobody_is_one(home: House) -> None:
    assert (await raw(home, "/system_stats", Cookie="guest=1; guest_mode=1"))[0] == 401


async def test_12_a_token_in_the_address_counts_only_where_it_is_switched_on(tmp_path: Path, home: House) -> None:
    token = home.token("a")
    assert (await raw(home, f"/queue?token={token}"))[0] == 401
    async with house(tmp_path / "other", query_token=True) as lenient:
        token = lenient.token("a")
        assert (await raw(lenient, f"/queue?token={token}"))[0] == 200
        assert (await raw(lenient, f"/queue?%74oken={token}"))[0] == 200
        assert (await raw(lenient, f"/queue?token={token}&token={token}"))[0] == 401
        assert token not in str(lenient.ledger.lines)


async def test_13_a_revoked_token_stops_within_one_second_and_its_sockets_too(home: House) -> None:
    token = home.token("a")
    headers = {"Authorization": f"Bearer {token}"}
    async with home.session.ws_connect(home.url + "/ws", headers=headers) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
        home.store.tokens.revoke("a", home.store.clock())
        began = time.monotonic()
        while (await home.ask("GET", "/queue", token))[0] != 401:
            assert time.monotonic() - began < 2
        ended = await asyncio.wait_for(socket.receive(), 3)
        assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_14_20_signing_out_ends_a_stolen_cookie_and_its_sockets(home: House) -> None:
    home.user("ann", PASSWORD)
    answer = await sign_in(home, "ann", PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Max-Age="))
    stolen = {"Cookie": f"{COOKIE}={answer.cookies[COOKIE].value}", "Origin": home.url}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as thief,
        thief.ws_connect(home.url + "/ws", headers=stolen) as socket,
    ):
        await socket.receive()
        async with thief.post(home.url + "/auth/logout", headers=stolen) as response:
            assert response.status == 200
        async with thief.get(home.url + "/queue", headers=stolen) as response:
            assert response.status == 401
        ended = await asyncio.wait_for(socket.receive(), 3)
        assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_15_16_guessing_passwords_is_slowed_and_stalls_nobody(home: House) -> None:
    home.user("ann", PASSWORD)
    token = home.token("a")
    answers = await asyncio.gather(*(sign_in(home, "ann", f"guess number {number}") for number in range(30)))
    statuses = {answer.status for answer in answers}
    assert statuses == {401, 429} and any("Retry-After" in answer.headers for answer in answers)
    assert (await home.ask("GET", "/queue", token))[0] == 200
    unknown, _ = await home.ask("POST", "/auth/login", json={"name": "bob", "password": "x"})
    assert unknown in (401, 429)


async def test_15_the_record_says_whose_account_was_tried(home: House) -> None:
    """A name that nobody has is not written down: it may be a password, typed into the wrong field."""
    home.user("ann", PASSWORD)
    for name in ("ann", "guess-number-1"):
        assert (await sign_in(home, name, "guess number 1")).status == 401
    tried = [line.target for line in home.ledger.lines if line.action == "sign_in"]
    assert tried == ["ann", ""] and not any("guess" in str(line) for line in home.ledger.lines)


async def test_16_the_sign_in_page_names_nobody(home: House) -> None:
    home.user("ann", PASSWORD)
    status, page = await home.ask("GET", "/auth/login")
    assert status == 200 and "ann" not in page.replace("manner", "") and "http" not in page


async def test_17_what_is_kept_is_for_its_owner_only(home: House, tmp_path: Path) -> None:
    home.token("a")
    files = [path for path in (tmp_path / "home").iterdir() if path.suffix == ".db"]
    assert files and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


async def test_18_where_accounts_cannot_be_read_nobody_is_let_in(home: House) -> None:
    token = home.token("a")
    assert (await home.ask("GET", "/queue", token))[0] == 200
    home.store.path.write_bytes(b"not a database" * 1000)
    other = "cops_0123456789abcdef_" + "A" * 43
    status, answer = await home.ask("GET", "/queue", other)
    assert status in (401, 503) and "Traceback" not in str(answer)


async def test_19_clients_without_an_origin_are_served_and_foreign_pages_are_not(home: House) -> None:
    token = f"Bearer {home.token('a')}"
    assert (await raw(home, "/queue", Authorization=token))[0] == 200
    assert (await raw(home, "/queue", Authorization=token, Origin="https://evil.example"))[0] == 403
    assert (await raw(home, "/queue", Authorization=token, Origin="null"))[0] == 403
    assert (await raw(home, "/queue", **{"Authorization": token, "Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await raw(home, "/queue", Authorization=token, Host="evil.example"))[0] == 421


async def test_20_another_page_cannot_use_somebodys_session(home: House) -> None:
    home.user("ann", PASSWORD)
    value = (await sign_in(home, "ann", PASSWORD)).cookies[COOKIE].value
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, _, _ = await raw(home, "/interrupt", "POST", Cookie=f"{COOKIE}={value}", **headers)
        assert status == 403
    assert (await raw(home, "/interrupt", "POST", Cookie=f"{COOKIE}={value}", Origin=home.url))[0] == 200


async def test_21_no_request_changes_an_account_without_its_password(home: House) -> None:
    home.user("ann", PASSWORD)
    before = home.store.users.named("ann")
    for body in ({"name": "", "password": "another password"}, {"name": "ann", "password": ""}):
        await home.ask("POST", "/auth/login", json=body)
    assert (await home.ask("POST", "/auth/password", json={"old": PASSWORD, "new": "another password"}))[0] == 401
    assert home.store.users.named("ann") == before


async def test_22_a_refusal_is_401_with_a_challenge_and_for_people_the_sign_in_page(home: House) -> None:
    status, body, headers = await raw(home, "/queue")
    assert status == 401 and "www-authenticate" in headers and json.loads(body)["error"]["code"]
    assert "server" not in headers and "aiohttp" not in body + str(headers)
    status, body, headers = await raw(home, "/", Accept="text/html")
    assert status == 401 and "<form" in body and "Basic" not in headers["www-authenticate"]


@pytest.mark.parametrize(
    "path",
    [
        "//queue",
        "/./queue",
        "/%71ueue",
        "/%2571ueue",
        "/QUEUE",
        "/health/../queue",
        "/auth/login/..%2f..%2fqueue",
        "/\\queue",
    ],
)
async def test_other_ways_to_write_a_path_are_decided_alike(home: House, path: str) -> None:
    assert (await raw(home, path))[0] in (400, 401)


@pytest.mark.parametrize("path", ["/ws", "/api/ws", "/api/api/ws", "/ws?token=", "/%77s"])
async def test_a_websocket_without_a_credential_is_refused_at_its_handshake(home: House, path: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await home.session.ws_connect(URL(home.url + path, encoded=True))
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "host", ["127.0.0.1?", "127.0.0.1#x", "127.0.0.1@x", "127.0.0.1/x", "127.0.0.1\\x", "x?127.0.0.1", "::1" * 200]
)
async def test_a_host_that_is_more_than_a_name_and_a_port_is_refused(home: House, host: str) -> None:
    assert (await raw(home, "/queue", Authorization=f"Bearer {home.token('a')}", Host=host))[0] == 421


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(tmp_path: Path, home: House) -> None:
    await raw(home, "/queue", **{"X-Forwarded-For": "10.9.8.7"})
    assert home.ledger.lines[-1].address == "127.0.0.1"
    async with house(tmp_path / "other", proxies=frozenset({"127.0.0.1"})) as behind:
        await raw(behind, "/queue", **{"X-Forwarded-For": "6.6.6.6, 10.9.8.7"})
        assert behind.ledger.lines[-1].address == "10.9.8.7"
