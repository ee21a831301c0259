"""Applications behind the gateway's door."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse

from comfyops.gateway.settings import Limits
from tests.unit.gateway.house import House, house


class Seen:
    """What the mounted application noticed."""

    def __init__(self) -> None:
        self.streaming = asyncio.Event()
        self.left = asyncio.Event()


def mounted(seen: Seen) -> FastAPI:
    """An application that tells what it was given."""
    app = FastAPI()

    @app.api_route("/api/v9/echo/{rest:path}", methods=["GET", "POST"])
    async def echo(request: Request, rest: str) -> dict[str, Any]:
        principal = request.scope["state"]["principal"]
        return {
            "rest": rest,
            "who": principal.name,
            "path": request.url.path,
            "query": request.url.query,
            "headers": sorted(request.headers),
            "size": len(await request.body()),
        }

    @app.get("/api/v9/stream")
    async def stream() -> StreamingResponse:
        async def news() -> AsyncIterator[str]:
            try:
                yield "data: one\n\n"
                seen.streaming.set()
                await asyncio.sleep(60)
                yield "data: never\n\n"
            finally:
                seen.left.set()

        return StreamingResponse(news(), media_type="text/event-stream")

    @app.get("/api/v9/file/{path:path}")
    async def file(path: str) -> FileResponse:
        return FileResponse(f"/{path}")

    @app.get("/api/v9/fault")
    async def fault() -> None:
        raise ValueError("a secret place")

    return app


def at(home_folder: Path, seen: Seen, **options: Any) -> Any:
    """A gateway with the application under /api/v9."""
    return house(home_folder, mounts={"/api/v9": mounted(seen)}, **options)


async def test_a_mounted_application_knows_who_asks_and_sees_no_credential(tmp_path: Path) -> None:
    async with at(tmp_path, Seen()) as home:
        token = home.token("boss", "administrator")
        for path in ("/api/v9/echo/a/b", "/api/api/v9//echo/./a%2Fb", "/v9/echo/a/b"):
            status, data = await home.ask("GET", f"{path}?x=1", token)
            assert status == 200
            assert (data["who"], data["rest"], data["path"]) == ("boss", "a/b", "/api/v9/echo/a/b")
            assert data["query"] == "x=1"
            assert not {"authorization", "cookie"} & set(data["headers"])


async def test_nobody_reaches_a_mounted_application_without_the_right(tmp_path: Path) -> None:
    async with at(tmp_path, Seen()) as home:
        assert (await home.ask("GET", "/api/v9/echo/a"))[0] == 401
        assert (await home.ask("GET", "/api/v9/echo/a", home.token("ann", "artist")))[0] == 403
        assert (await home.ask("GET", "/api/v99/echo/a", home.token("boss", "administrator")))[0] == 404


async def test_requests_that_change_something_are_recorded(tmp_path: Path) -> None:
    async with at(tmp_path, Seen()) as home:
        token = home.token("boss", "administrator")
        await home.ask("POST", "/api/v9/echo/a", token, data=b"12345")
        assert [(line.target, line.allowed) for line in home.ledger.lines] == [("POST /v9/echo/a", True)]


async def test_answers_carry_the_security_headers_of_the_gateway(tmp_path: Path) -> None:
    async with at(tmp_path, Seen()) as home:
        headers = {"Authorization": f"Bearer {home.token('boss', 'administrator')}"}
        async with home.session.get(f"{home.url}/api/v9/echo/a", headers=headers) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("announced", [True, False])
async def test_bodies_have_a_bound(tmp_path: Path, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with at(tmp_path, Seen(), limits=Limits(upload_bytes=10_000)) as home:
        token = home.token("boss", "administrator")
        body = b"x" * 20_000 if announced else pieces()
        status, data = await home.ask("POST", "/api/v9/echo/a", token, data=body)
        assert (status, data["error"]["code"]) == (413, "too_large")
        assert (await home.ask("POST", "/api/v9/echo/a", token, data=b"x" * 9_999))[1]["size"] == 9_999


async def test_a_stream_is_passed_on_piece_by_piece_and_its_reader_is_missed(tmp_path: Path) -> None:
    seen = Seen()
    async with at(tmp_path, seen) as home:
        answer = await _stream(home, home.token("boss", "administrator"))
        assert await answer.content.readline() == b"data: one\n"
        assert not seen.left.is_set()
        answer.close()
        async with asyncio.timeout(10):
            await seen.left.wait()


async def test_a_revoked_token_loses_its_streams(tmp_path: Path) -> None:
    seen = Seen()
    async with at(tmp_path, seen) as home:
        token = home.token("boss", "administrator")
        answer = await _stream(home, token)
        async with asyncio.timeout(10):
            await seen.streaming.wait()
            home.store.tokens.revoke(token.split("_")[1], home.store.clock())
            await seen.left.wait()
        answer.close()


async def test_a_mounted_application_sends_files_and_parts_of_them(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    async with at(tmp_path, Seen()) as home:
        headers = {"Authorization": f"Bearer {home.token('boss', 'administrator')}"}
        url = f"{home.url}/api/v9/file{tmp_path}/file"
        for method, part, wanted in (
            ("GET", {}, data),
            ("GET", {"Range": "bytes=5-"}, data[5:]),
            ("HEAD", {}, b""),
            ("GET", {}, data),
        ):
            async with home.session.request(method, url, headers={**headers, **part}) as answer:
                assert hash(await answer.read()) == hash(wanted)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_revoked_token_loses_a_file_that_is_being_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(64 * 1024 * 1024))
    async with at(tmp_path, Seen()) as home:
        token = home.token("boss", "administrator")
        url, headers = f"{home.url}/api/v9/file{tmp_path}/file", {"Authorization": f"Bearer {token}"}
        answer = await home.session.get(url, headers=headers)
        home.store.tokens.revoke(token.split("_")[1], home.store.clock())
        async with asyncio.timeout(10):
            while (await home.ask("GET", "/api/v9/echo/a", token))[0] != 401:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_fault_of_a_mounted_application_tells_nothing(tmp_path: Path) -> None:
    async with at(tmp_path, Seen()) as home:
        status, data = await home.ask("GET", "/api/v9/fault", home.token("boss", "administrator"))
        assert status == 500
        assert "secret" not in json.dumps(data)


async def _stream(home: House, token: str) -> aiohttp.ClientResponse:
    return await home.session.get(f"{home.url}/api/v9/stream", headers={"Authorization": f"Bearer {token}"})
