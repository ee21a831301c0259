"""Servers that are away, ask for a login, are something else, or mean harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from tests.acceptance.processes import Server, comfyops, serving


@pytest.mark.parametrize(
    ("address", "code", "exit_code"),
    [
        ("http://127.0.0.1:1", "backend_unreachable", 1),
        ("no-such-host.invalid", "backend_unreachable", 1),
        ("ftp://127.0.0.1", "usage", 2),
        ("http://", "usage", 2),
        ("http://127.0.0.1:99999", "usage", 2),
    ],
)
def test_a_server_that_cannot_be_asked(folder: Path, address: str, code: str, exit_code: int) -> None:
    done = comfyops("run", "picture.json", "--server", address, "-o", "out", folder=folder)
    done.failed_with(code, address.removeprefix("http://"), "hint:", exit_code=exit_code)
    assert not (folder / "out").exists()


@dataclass(frozen=True)
class Fixed:
    """Answers everything with the same, and remembers the tokens it was sent."""

    text: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        return web.Response(body=self.text, status=self.status, headers=self.headers)


@pytest.mark.parametrize(
    "login",
    [
        Fixed(b'{"error": "Authentication required."}', 401),
        Fixed(status=403),
        Fixed(status=302, headers={"Location": "/login"}),
    ],
    ids=lambda login: str(login.status),
)
def test_a_server_that_asks_for_a_login(folder: Path, login: Fixed) -> None:
    with serving(login) as url:
        done = comfyops("run", "picture.json", "--server", url, "-o", "out", folder=folder)
        done.failed_with("login_required", "asks for a login", "--token")
        snapshot = comfyops("nodes", "snapshot", "--server", url, "-o", "facts.json", "--json", folder=folder)
    assert (snapshot.code, snapshot.envelope["error"]["code"]) == (1, "login_required")
    assert not (folder / "out").exists() and not (folder / "facts.json").exists()


def test_a_token_is_sent_and_never_shown() -> None:
    login = Fixed(status=401)
    with serving(login) as url:
        by_option = comfyops("jobs", "ls", "--server", url, "--token", "s3cret")
        by_variable = comfyops("jobs", "ls", "--server", url, variables={"COMFYOPS_TOKEN": "s3cret"})
    assert set(login.tokens) == {"Bearer s3cret"}
    assert all("s3cret" not in done.err + done.out for done in (by_option, by_variable))


@pytest.mark.parametrize(
    "other",
    [
        Fixed(b"<html>Hello</html>", headers={"Content-Type": "text/html"}),
        Fixed(b'{"hello": "world"}'),
        Fixed(b"[]"),
        Fixed(status=404),
        Fixed(b"\xff\xfe\x00"),
        Fixed(),
    ],
    ids=["page", "other JSON", "list", "nothing there", "junk", "empty"],
)
def test_a_server_that_is_no_comfyui(folder: Path, other: Fixed) -> None:
    with serving(other) as url:
        done = comfyops("run", "picture.json", "--server", url, "-o", "out", folder=folder)
    done.failed_with("not_comfyui", "hint:")
    assert not (folder / "out").exists()


@dataclass(frozen=True)
class Liar:
    """Passes everything on to a server, but names other files as the outputs."""

    behind: str
    item: Mapping[str, str]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/view":
            return web.Response(body=b"evil")
        if request.path == "/ws":
            return web.Response(status=404)
        url, body = self.behind + request.path_qs, await request.read()
        headers = {"Content-Type": request.content_type}
        async with ClientSession() as session, session.request(request.method, url, data=body, headers=headers) as made:
            answer = await made.json(content_type=None)
        if request.path.startswith("/history/"):
            for entry in answer.values():
                entry["outputs"]["2"]["images"] = [dict(self.item)]
        return web.json_response(answer)


@pytest.mark.parametrize(
    "item",
    [
        {"filename": "../../evil.png", "subfolder": "", "type": "output"},
        {"filename": "evil.png", "subfolder": "../..", "type": "output"},
        {"filename": "..\\evil.png", "subfolder": "", "type": "output"},
    ],
    ids=lambda item: item["subfolder"] + item["filename"],
)
def test_an_output_name_that_leaves_its_folder_is_not_written(
    server: Server, folder: Path, item: dict[str, str]
) -> None:
    with serving(Liar(server.url, item)) as url:
        done = comfyops("run", "picture.json", "--server", url, "-o", "out/here", folder=folder)
    done.failed_with("unsafe_name", "..", "hint:")
    assert not list(folder.rglob("*evil*")) and not (folder / "out").exists()


def test_an_absolute_output_name_stays_inside_of_the_folder(server: Server, folder: Path) -> None:
    with serving(Liar(server.url, {"filename": "name.png", "subfolder": "/sub", "type": "output"})) as url:
        done = comfyops("run", "picture.json", "--server", url, "-o", "out", folder=folder)
    assert done.out == "out/sub/name.png\n" and (folder / "out/sub/name.png").read_bytes() == b"evil"


def test_what_a_server_rejects_is_told_in_its_words(server: Server, folder: Path) -> None:
    done = comfyops("run", "load.json", "--no-validate", "--server", server.url, "--json", folder=folder)
    error = done.envelope["error"]
    assert (done.code, error["code"]) == (1, "rejected") and "none.png" in error["message"]
    assert json.dumps(error["details"])


def test_a_wrong_prefix_is_told(server: Server) -> None:
    comfyops("jobs", "ls", "--server", server.url, "--api-prefix", "/nowhere").failed_with(
        "not_comfyui", "--api-prefix"
    )
    assert comfyops("jobs", "ls", "--server", server.url, "--api-prefix", "/api").code == 0
