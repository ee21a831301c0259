"""GET /auth/verify, asked by a real nginx and by hand: its decision is the gateway's, or nobody gets through."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError, web

from comfyops.auth.authenticator import COOKIE
from comfyops.errors import UsageError
from comfyops.gateway.browser import client_address
from comfyops.gateway.proxies import Proxies
from comfyops.gateway.settings import Limits
from tests.unit.gateway.house import House, house

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CADDY_PROGRAM = shutil.which("caddy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
ROOT = Path(__file__).parents[3]
PASSWORD = "four words of nothing"
HERE = Proxies.of(["127.0.0.1"])

AROUND = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {servers}
}}
"""
SERVER = """
  server {{
    listen 127.0.0.1:{port};
    location = /_verify {{
      internal; proxy_pass {gateway}/auth/verify; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Original-Method $request_method; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Method "";
      proxy_set_header X-Forwarded-Uri "";
    }}
    location /auth/ {{ proxy_pass {gateway}; proxy_set_header Host $http_host; }}
    location / {{
      auth_request /_verify; auth_request_set $who $upstream_http_x_comfyops_user;
      auth_request_set $role $upstream_http_x_comfyops_role;
      proxy_set_header X-Who "$who $role"; proxy_set_header Authorization ""; proxy_set_header Cookie "";
      proxy_pass {backend};
    }}
  }}
"""


def of_the_page(port: int, gateway: str, backend: str) -> str:
    """The configuration that docs/gateway.md shows, with these addresses."""
    text = (ROOT / "docs/gateway.md").read_text(encoding="utf-8")
    shown = text.partition("```nginx\n")[2].partition("```")[0]
    for written, meant in (
        (":8080", f":{port}"),
        ("http://127.0.0.1:8189", gateway),
        ("http://127.0.0.1:8188", backend),
    ):
        assert written in shown
        shown = shown.replace(written, meant)
    return shown


@asynccontextmanager
async def told() -> AsyncIterator[str]:
    """A server that tells what reaches it."""

    async def tell(request: web.Request) -> web.Response:
        return web.json_response({"method": request.method, "path": request.raw_path, "who": request.headers["X-Who"]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", tell)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def nginx(folder: Path, gateway: str, backend: str, *, page: bool = False) -> AsyncIterator[str]:
    """An nginx that asks the gateway about every request; gives its address."""
    assert NGINX is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    file = folder / "nginx.conf"
    own = SERVER.format(port=port, gateway=gateway, backend=backend)
    file.write_text(AROUND.format(folder=folder, servers=of_the_page(port, gateway, backend) if page else own))
    process = await asyncio.create_subprocess_exec(NGINX, "-p", str(folder), "-c", str(file))
    try:
        async with asyncio.timeout(20):
            while True:
                assert process.returncode is None, (folder / "error.log").read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        writer.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def through(home: House, url: str, method: str, path: str, **headers: str) -> tuple[int, Any]:
    async with home.session.request(method, url + path, headers=headers, allow_redirects=False) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if answer.status == 200 else text


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_nginx_lets_through_what_the_gateway_would(tmp_path: Path) -> None:
    async with (
        house(tmp_path / "home", proxies=HERE) as home,
        told() as backend,
        nginx(tmp_path / "nginx", home.url, backend) as url,
    ):
        artist, viewer = (f"Bearer {home.token(name, name)}" for name in ("artist", "viewer"))
        assert (await through(home, url, "GET", "/queue"))[0] == 401
        assert (await through(home, url, "GET", "/queue", Authorization="Bearer wrong"))[0] == 401
        status, answer = await through(home, url, "GET", "/queue?x=1", Authorization=artist)
        assert (status, answer) == (200, {"method": "GET", "path": "/queue?x=1", "who": "artist artist"})
        assert (await through(home, url, "POST", "/prompt", Authorization=artist))[0] == 200
        assert (await through(home, url, "POST", "/prompt", Authorization=viewer))[0] == 403
        for path in ("/internal/logs", "/%69nternal/logs", "/queue/../internal/logs", "/own/route"):
            assert (await through(home, url, "GET", path, Authorization=artist))[0] == 403, path
        for name in ("X-Original-URI", "X-Original-Method", "X-Forwarded-Uri", "X-Forwarded-Method"):
            value = "/queue" if "U" in name else "GET"
            lied = {"Authorization": viewer, name: value}
            assert (await through(home, url, "POST", "/prompt", **lied))[0] == 403, name
        line = next(item for item in home.ledger.lines if item.target.endswith("for POST /prompt") and not item.allowed)
        assert line.reason == "forbidden" and line.address == "127.0.0.1"
        told_of = [item.target for item in home.ledger.lines if item.action == "verify"]
        assert told_of == ["POST /prompt"], "what only reads fills no record"

        home.user("ann", PASSWORD)
        async with home.session.post(f"{url}/auth/login", json={"name": "ann", "password": PASSWORD}) as signed:
            cookie = f"{COOKIE}={signed.cookies[COOKIE].value}"
        assert (await through(home, url, "GET", "/queue", Cookie=cookie))[1]["who"] == "ann artist"
        assert (await through(home, url, "POST", "/prompt", Cookie=cookie))[0] == 403, "no page says that it asks"
        assert (await through(home, url, "POST", "/prompt", Cookie=cookie, Origin=url))[0] == 200
        assert (await through(home, url, "POST", "/prompt", Cookie=cookie, Origin="https://evil.example"))[0] == 403
        home.store.tokens.revoke("artist", home.store.clock())
        async with asyncio.timeout(10):
            while (await through(home, url, "GET", "/queue", Authorization=artist))[0] != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_the_page_shows_what_a_browser_needs_behind_nginx(tmp_path: Path) -> None:
    """Its origin is no stranger to the server, websockets pass, and who has not signed in gets the page for it."""
    async with (
        house(tmp_path / "home", proxies=HERE) as home,
        nginx(tmp_path / "nginx", home.url, home.backend, page=True) as url,
    ):
        async with home.session.get(url, headers={"Accept": "text/html"}) as answer:
            assert answer.status == 401 and "<form" in await answer.text()
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        home.user("ann", PASSWORD)
        async with home.session.post(f"{url}/auth/login", json={"name": "ann", "password": PASSWORD}) as signed:
            headers = {"Cookie": f"{COOKIE}={signed.cookies[COOKIE].value}", "Origin": url}
        async with home.session.post(f"{url}/api/prompt", json={"prompt": {}}, headers=headers) as answer:
            assert (await answer.json())["error"]["type"] == "prompt_no_outputs", "the server itself has answered"
        async with home.session.ws_connect(f"{url}/ws?clientId=me", headers=headers) as websocket:
            assert (await websocket.receive_json(timeout=20))["type"] == "status"
        with pytest.raises(WSServerHandshakeError, match="401"):
            await home.session.ws_connect(f"{url}/ws", headers={"Origin": url})


async def wrong_tries(home: House, url: str) -> dict[str, str]:
    """Headers of who tries one wrong token after the other, until that is too much."""
    wrong = {"Authorization": f"Bearer cops_{'0' * 16}_{'x' * 43}"}
    async with asyncio.timeout(20):
        while (await through(home, url, "GET", "/queue", **wrong))[0] == 401:
            pass
    return wrong


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_behind_nginx_a_client_is_told_to_wait_and_never_of_a_fault(tmp_path: Path) -> None:
    """nginx takes only 401 and 403 for refusals; the page shows how its client hears of the others."""
    slow = Limits(requests_per_second=0.01, requests_burst=3)
    async with (
        house(tmp_path / "home", proxies=HERE, limits=slow) as home,
        nginx(tmp_path / "nginx", home.url, home.backend, page=True) as url,
        nginx(tmp_path / "other", home.url, home.backend) as other,
    ):
        mine = {"Authorization": f"Bearer {home.token('a')}"}
        assert [(await through(home, url, "GET", "/queue", **mine))[0] for _ in range(4)] == [200, 200, 200, 429]
        async with home.session.get(f"{url}/queue", headers=mine) as answer:
            assert answer.status == 429 and 90 <= int(answer.headers["Retry-After"]) <= 100
        with pytest.raises(WSServerHandshakeError, match="429"):
            await home.session.ws_connect(f"{url}/ws", headers=mine)
        assert (await through(home, other, "GET", "/queue", **mine))[0] == 403, "its configuration knows of no 429"
        assert home.ledger.lines[-1].reason == "too_many_requests"
        lost = {**mine, "Host": "unknown.example"}
        async with home.session.get(f"{url}/queue", headers=lost) as answer:
            assert answer.status == 421 and "Retry-After" not in answer.headers
        viewer = {"Authorization": f"Bearer {home.token('v', 'viewer')}"}
        async with home.session.post(f"{url}/prompt", headers=viewer) as answer:
            assert answer.status == 403 and "Retry-After" not in answer.headers
        wrong = await wrong_tries(home, url)
        async with home.session.get(f"{url}/queue", headers=wrong) as answer:
            assert answer.status == 429 and int(answer.headers["Retry-After"]) > 0
        assert (await through(home, other, "GET", "/queue", **wrong))[0] == 403


# A server may read them as a file of userdata, or not at all, where the gateway would decide on the queue.
UNCLEAR = ("/userdata/%252e%252e%252fqueue", "/userdata/..%2fqueue", "/%2571ueue", "//queue", "/x/../queue", "/queue.")
PLAIN = (
    "/",
    "/queue/",
    "/%71ueue",
    "/api/queue",
    "/api/userdata/workflows%2Fa%20b%20(2).json",
    "/userdata/caf%C3%A9.json",
)
ASKED = {"X-Original-Method": "GET", "X-Original-URI": "/queue"}
CADDY = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/queue"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (ASKED, 204),
        ({**CADDY, "X-Forwarded-Uri": "/queue?a=b"}, 204),
        ({**ASKED, **CADDY}, 204),
        ({**ASKED, "X-Forwarded-Uri": "/internal/logs"}, 403),
        ({**ASKED, "X-Forwarded-Method": "POST"}, 403),
        ({"X-Original-Method": "GET"}, 403),
        ({"X-Original-URI": "/queue"}, 403),
        ({}, 403),
        ({**ASKED, "X-Original-URI": ""}, 403),
        ({**ASKED, "X-Original-URI": "queue"}, 403),
        ({**ASKED, "X-Original-URI": "/%00"}, 403),
        ({**ASKED, "X-Original-URI": "/../../queue"}, 403),
        ({**ASKED, "X-Original-URI": "http://elsewhere/queue"}, 403),
        *(({**ASKED, "X-Original-URI": path}, 403) for path in UNCLEAR),
        *(({**ASKED, "X-Original-URI": path}, 204) for path in PLAIN),
        ({**ASKED, "X-Original-Method": "get"}, 204),
        ({**ASKED, "X-Original-Method": "DELETE"}, 403),
        ({**ASKED, "X-Original-Method": "é"}, 403),
        ({**ASKED, "X-Original-URI": "/internal/folder_paths"}, 403),
        ({**ASKED, "X-Original-URI": "/api/internal/folder_paths?x=1"}, 403),
        ({**ASKED, "X-Forwarded-Host": "unknown.example"}, 403),
        ({**CADDY, "X-Forwarded-Host": "unknown.example"}, 421),
    ],
)
async def test_a_proxy_has_to_say_what_it_asks_about(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async with house(tmp_path, proxies=HERE) as home:
        assert (await home.ask("GET", "/auth/verify", home.token("a"), headers=headers))[0] == status


@pytest.mark.parametrize(("asked", "told"), [(ASKED, (403, "429")), (CADDY, (429, None))], ids=["nginx", "Caddy"])
async def test_a_proxy_is_told_to_wait_in_a_way_that_it_passes_on(
    tmp_path: Path, asked: dict[str, str], told: tuple[int, str | None]
) -> None:
    async with house(tmp_path, proxies=HERE, limits=Limits(requests_per_second=0.01, requests_burst=1)) as home:
        headers = {**asked, "Authorization": f"Bearer {home.token('a')}"}
        for status, meant in ((204, None), told):
            async with home.session.get(f"{home.url}/auth/verify", headers=headers) as answer:
                assert (answer.status, answer.headers.get("X-Comfyops-Status")) == (status, meant)
        assert int(answer.headers["Retry-After"]) > 90
        async with home.session.get(f"{home.url}/queue", headers=headers) as answer:
            assert answer.status == 429, "who asks for himself is told plainly"


async def test_nobody_but_a_trusted_proxy_is_answered(tmp_path: Path) -> None:
    async with house(tmp_path, proxies=Proxies.of(["10.0.0.0/8"])) as home:
        token = home.token("a")
        for who in (token, None, "wrong"):
            status, answer = await home.ask("GET", "/auth/verify", who, headers=ASKED)
            assert (status, answer["error"]["code"]) == (403, "untrusted_proxy")
        lied = {**ASKED, "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Host": "known.example"}
        assert (await home.ask("GET", "/auth/verify", token, headers=lied))[0] == 403


async def test_the_answer_names_who_asks_in_plain_headers(tmp_path: Path) -> None:
    async with house(tmp_path, proxies=HERE) as home:
        headers = {**ASKED, "Authorization": f"Bearer {home.token('ann', 'viewer')}"}
        async with home.session.get(f"{home.url}/auth/verify", headers=headers) as answer:
            assert answer.status == 204
            named = [answer.headers[f"X-Comfyops-{name}"] for name in ("User", "Role", "Owner")]
        assert named[:2] == ["ann", "viewer"] and named[2].startswith("own_")


def test_proxies_are_addresses_and_networks() -> None:
    known = Proxies.of(["::ffff:10.0.0.2", "172.16.0.0/12", "fd00::/8", "0:0::1"])
    assert all(
        address in known
        for address in ("10.0.0.2", "172.20.0.9", "::ffff:172.20.0.9", "fd12::1", "::1", "::ffff:10.0.0.2")
    )
    assert not any(
        address in known
        for address in ("10.0.0.3", "172.32.0.1", "", "proxy", "fe80::1", None, "::ffff:10.0.0.3", "::ffff:x")
    )
    for bad in ("proxy", "10.0.0.1/8", "10.0.0.0/33", "", "1.2.3", "*"):
        with pytest.raises(UsageError):
            Proxies.of([bad])


SHAKES = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def test_a_question_that_looks_like_a_handshake_is_answered_and_no_websocket(tmp_path: Path) -> None:
    """Caddy leaves `Upgrade` in what it asks about a websocket."""
    asked = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/ws?clientId=me", **SHAKES}
    async with house(tmp_path, proxies=HERE) as home:
        for who, status in ((f"Bearer {home.token('ann')}", 204), ("Bearer wrong", 401)):
            headers = {**asked, "Authorization": who}
            async with home.session.get(f"{home.url}/auth/verify", headers=headers) as answer:
                assert answer.status == status
                assert answer.headers.get("X-Comfyops-User") == ("ann" if status == 204 else None)
        assert (await home.ask("GET", "/auth/verify", headers=asked))[0] == 401
        lied = {**asked, "Authorization": f"Bearer {home.token('v', 'viewer')}", "X-Forwarded-Uri": "/internal/logs"}
        assert (await home.ask("GET", "/auth/verify", headers=lied))[1]["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("wanted", "goal"), [("/view?filename=a.png", "/view?filename=a.png"), ("//evil.example/", "/"), ("x", "/")]
)
async def test_who_signs_in_behind_a_proxy_comes_to_what_he_asked_for(tmp_path: Path, wanted: str, goal: str) -> None:
    headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": wanted, "Accept": "text/html"}
    async with house(tmp_path, proxies=HERE) as home:
        async with home.session.get(f"{home.url}/auth/verify", headers=headers) as answer:
            text = await answer.text()
        assert (f'name="next" value="{goal}"' in text) == (answer.status == 401)
        assert "/auth/verify" not in text.partition("<form")[2] and "evil.example" not in text


async def test_for_nobody_the_headers_are_there_and_empty(tmp_path: Path) -> None:
    """A proxy that has nothing to put in their place would leave what the client made up."""
    async with house(tmp_path, proxies=HERE) as home:
        asked = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/health", "X-Comfyops-User": "boss"}
        async with home.session.get(f"{home.url}/auth/verify", headers=asked) as answer:
            told = [answer.headers.get(f"X-Comfyops-{name}") for name in ("User", "Role", "Owner")]
        assert (answer.status, told) == (204, ["", "", ""])


@asynccontextmanager
async def caddy(folder: Path, gateway: str, backend: str) -> AsyncIterator[str]:
    """A Caddy with the configuration that docs/gateway.md shows; gives its address."""
    assert CADDY_PROGRAM is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir()
    text = (ROOT / "docs/gateway.md").read_text(encoding="utf-8").partition("```caddy\n")[2].partition("```")[0]
    for written, meant in (
        ("http://127.0.0.1:8080", url),
        ("127.0.0.1:8189", gateway.removeprefix("http://")),
        ("127.0.0.1:8188", backend.removeprefix("http://")),
    ):
        assert written in text
        text = text.replace(written, meant)
    file = folder / "Caddyfile"
    file.write_text("{\nadmin off\nauto_https off\n}\n" + text)
    command = (CADDY_PROGRAM, "run", "--config", str(file), "--adapter", "caddyfile")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stderr=log, env={"HOME": str(folder)})
    try:
        async with asyncio.timeout(20):
            while not await _listens(url):
                assert process.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.02)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(url: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.skipif(CADDY_PROGRAM is None, reason="Caddy is not installed")
async def test_the_page_shows_what_a_browser_needs_behind_caddy(tmp_path: Path) -> None:
    async with (
        house(tmp_path / "home", proxies=HERE) as home,
        caddy(tmp_path / "caddy", home.url, home.backend) as url,
    ):
        async with home.session.get(f"{url}/?a=b", headers={"Accept": "text/html"}) as answer:
            assert answer.status == 401 and 'name="next" value="/?a=b"' in await answer.text()
        home.user("ann", PASSWORD)
        async with home.session.post(f"{url}/auth/login", json={"name": "ann", "password": PASSWORD}) as signed:
            headers = {"Cookie": f"{COOKIE}={signed.cookies[COOKIE].value}", "Origin": url}
        async with home.session.post(f"{url}/api/prompt", json={"prompt": {}}, headers=headers) as answer:
            assert (await answer.json())["error"]["type"] == "prompt_no_outputs", "the server itself has answered"
        async with home.session.ws_connect(f"{url}/ws?clientId=me", headers=headers) as websocket:
            assert (await websocket.receive_json(timeout=20))["type"] == "status"
        with pytest.raises(WSServerHandshakeError, match="401"):
            await home.session.ws_connect(f"{url}/ws", headers={"Origin": url})
        for path in ("/internal/logs", "/%69nternal/logs", "/internal%2flogs"):
            assert (await through(home, url, "GET", path, Cookie=headers["Cookie"]))[0] == 403


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("198.51.100.1, 203.0.113.9, 10.0.0.2:99", "203.0.113.9"),
        ("198.51.100.1, fd00::5", "198.51.100.1"),
        ("203.0.113.9:x", "10.0.0.1"),
        ("203.0.113.9:", "10.0.0.1"),
        ("[203.0.113.9:1", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
    ],
)
def test_the_address_of_a_client_is_read_as_proxies_write_it(forwarded: str, address: str) -> None:
    known = Proxies.of(["10.0.0.0/8", "fd00::/8"])
    assert client_address("10.0.0.1", [forwarded.encode()], known) == address
