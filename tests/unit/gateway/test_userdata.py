"""Saved workflows and settings: each owner's own, answered as ComfyUI answers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from comfyops.errors import StorageError
from comfyops.gateway.kept import FullError, Kept
from comfyops.gateway.settings import Limits
from tests.unit.gateway.house import House, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def ask(home: House, token: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Status and JSON of a request whose path is sent as it is written."""
    url, headers = URL(home.url + path, encoded=True), {"Authorization": f"Bearer {token}"}
    async with home.session.request(method, url, headers=headers, **options) as answer:
        try:
            return answer.status, await answer.json(content_type=None)
        except ValueError:
            return answer.status, await answer.text()


async def test_each_owner_has_workflows_and_settings_of_their_own(home: House) -> None:
    people = [home.token("ann"), home.token("bob"), home.token("boss", "administrator")]
    for number, token in enumerate(people):
        assert await ask(home, token, "GET", "/userdata?dir=workflows") == (200, [])
        assert (await ask(home, token, "GET", "/userdata?dir=others"))[0] == 404
        assert await ask(home, token, "GET", "/userdata/user.css") == (200, None)
        assert await ask(home, token, "GET", "/userdata/comfy.templates.json") == (200, [])
        body = b'{"of": %d}' % number
        assert await ask(home, token, "POST", "/api/userdata/workflows%2Fq.json", data=body) == (
            200,
            "workflows/q.json",
        )
        assert (await ask(home, token, "POST", "/settings/Comfy.Theme", json=number))[0] == 200
        assert (await ask(home, token, "POST", "/api/settings", json={"a.b": {"c": [number]}}))[0] == 200
    for number, token in enumerate(people):
        assert await ask(home, token, "GET", "/userdata/workflows%2Fq.json") == (200, {"of": number})
        assert await ask(home, token, "GET", "/settings") == (200, {"Comfy.Theme": number, "a.b": {"c": [number]}})
        assert await ask(home, token, "GET", "/settings/Comfy.Theme") == (200, number)
        assert await ask(home, token, "GET", "/settings/unset") == (200, None)
        assert await ask(home, token, "GET", "/users") == (200, {"storage": "server", "migrated": True})
    assert (await ask(home, people[0], "DELETE", "/userdata/workflows%2Fq.json"))[0] == 204
    assert (await ask(home, people[0], "DELETE", "/userdata/workflows%2Fq.json"))[0] == 404
    assert (await ask(home, people[1], "GET", "/userdata/workflows%2Fq.json"))[0] == 200
    async with aiohttp.request("GET", f"{home.backend}/settings") as answer:
        assert await answer.json() == {}, "nothing of it reaches the server"


async def test_it_answers_as_comfyui_does(home: House) -> None:
    ann = home.token("ann")
    names = ("workflows%2Ftest.json", "workflows%2Fdeep%2Fx.json", "workflows%2F.index.json", "user.css")
    for name in names:
        assert (await ask(home, ann, "POST", f"/userdata/{name}", data=b"{}"))[0] == 200
    assert (await ask(home, ann, "POST", "/userdata/workflows%2Ftest.json?overwrite=false", data=b"x"))[0] == 409
    assert await ask(home, ann, "GET", "/userdata?dir=workflows") == (200, ["test.json"])
    assert await ask(home, ann, "GET", "/userdata?dir=workflows%2F&recurse=true&split=true") == (
        200,
        [["deep/x.json", "deep", "x.json"], ["test.json", "test.json"]],
    )
    assert await ask(home, ann, "GET", "/userdata?dir=.") == (200, ["user.css"])
    _, (info, _) = await ask(home, ann, "GET", "/userdata?dir=workflows&recurse=true&full_info=true")
    assert set(info) == {"path", "size", "modified", "created"} and info["size"] == 2
    assert info["modified"] == int(info["modified"]) > 10**12
    _, tree = await ask(home, ann, "GET", "/v2/userdata")
    assert [(item["path"], item["type"]) for item in tree] == [
        ("workflows/deep", "directory"),
        ("workflows", "directory"),
        ("workflows/.index.json", "file"),
        ("workflows/test.json", "file"),
        ("user.css", "file"),
        ("workflows/deep/x.json", "file"),
    ]
    assert [item["path"] for item in (await ask(home, ann, "GET", "/v2/userdata?path=workflows%2Fdeep"))[1]] == [
        "workflows/deep/x.json"
    ]
    assert (await ask(home, ann, "GET", "/v2/userdata?path=workflows%2Ftest.json"))[0] == 400
    assert (await ask(home, ann, "GET", "/v2/userdata?path=nothing"))[0] == 404
    move = "/userdata/workflows%2Ftest.json/move/workflows%2Ft2.json"
    assert await ask(home, ann, "POST", move) == (200, "workflows/t2.json")
    assert (await ask(home, ann, "POST", move))[0] == 404
    back = "/userdata/workflows%2Ft2.json/move/workflows%2Fdeep%2Fx.json"
    assert (await ask(home, ann, "POST", f"{back}?overwrite=false"))[0] == 409
    assert (await ask(home, ann, "POST", f"{back}?full_info=true"))[1]["path"] == "workflows/deep/x.json"
    assert await ask(home, ann, "POST", "/userdata/workflows%2Fmove%2Fa.json", data=b"") == (
        200,
        "workflows/move/a.json",
    )


async def test_a_file_is_never_run_by_a_browser(home: House) -> None:
    ann = home.token("ann")
    for name, kind in (
        ("x.html", "application/octet-stream"),
        ("x.svg", "application/octet-stream"),
        ("x.js", "application/octet-stream"),
        ("x.json", "application/json"),
        ("user.css", "text/css"),
    ):
        await ask(home, ann, "POST", f"/userdata/{name}", data=b"<script>")
        async with home.session.get(
            f"{home.url}/userdata/{name}", headers={"Authorization": f"Bearer {ann}"}
        ) as answer:
            assert answer.content_type == kind and answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Disposition"] == ("inline" if name == "user.css" else "attachment")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/userdata/..%2F..%2Fetc%2Fpasswd", 400),
        ("GET", "/userdata/..%252F..%252Fx", 400),
        ("GET", "/userdata?dir=..%2F..", 403),
        ("GET", "/userdata?dir=a%252F..%252F..", 403),
        ("GET", "/v2/userdata?path=..", 403),
        ("GET", "/userdata", 400),
        ("GET", "/userdata/a/b.json", 404),
        ("POST", "/userdata/a%00b", 400),
        ("POST", "/userdata/" + "x" * 600, 400),
        ("POST", "/userdata/a/moved/b", 404),
        ("POST", "/users", 403),
        ("GET", "/settings/a/b", 404),
    ],
)
async def test_what_leads_elsewhere_is_refused(home: House, method: str, path: str, status: int) -> None:
    answered, answer = await ask(home, home.token("ann"), method, path)
    assert answered == status and answer["error"]["code"]


async def test_what_one_owner_keeps_is_bounded(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(prompt_bytes=1000, small_bytes=1000)) as home:
        ann = home.token("ann")
        assert (await ask(home, ann, "POST", "/userdata/big.json", data=b"x" * 1001))[0] == 413
        assert (await ask(home, ann, "POST", "/settings", json={"a": "x" * 1001}))[0] == 413
        for body in (b"[1]", b"{", b"NaN"):
            assert (await ask(home, ann, "POST", "/settings", data=body))[0] == 400
    kept = Kept(tmp_path / "kept.db", room=160)
    kept.write("ann", "a", b"x" * 100, overwrite=True)
    with pytest.raises(FullError):
        kept.write("ann", "b", b"x" * 61, overwrite=True)
    assert kept.write("ann", "a", b"x" * 160, overwrite=True) is not None
    assert kept.write("bob", "a", b"x" * 160, overwrite=True) is not None
    with pytest.raises(FullError):
        kept.change("ann", {"name": "12345678"})
    assert kept.settings("ann") == {}
    kept.close()
    with pytest.raises(StorageError):
        kept.files("ann")


def test_many_write_at_once_and_each_file_is_whole(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "kept.db"), Kept(tmp_path / "kept.db")

    def write(kept: Kept, owner: str) -> None:
        for number in range(30):
            kept.write(owner, f"{number % 3}.json", f"{owner}{number}".encode(), overwrite=True)

    threads = [threading.Thread(target=write, args=(kept, name)) for kept in (one, other) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.path for entry in one.files("ann")] == ["0.json", "1.json", "2.json"]
    assert other.read("bob", "2.json") == b"bob29" and (tmp_path / "kept.db").stat().st_mode & 0o777 == 0o600
    one.close()
    other.close()


async def test_where_it_is_shared_the_server_keeps_it(tmp_path: Path) -> None:
    async with house(tmp_path, shared_userdata=True) as home:
        ann, bob = home.token("ann"), home.token("bob")
        assert (await ask(home, ann, "POST", "/userdata/x.json", data=b"{}"))[0] == 200
        assert (await ask(home, bob, "GET", "/userdata/x.json"))[0] == 200
