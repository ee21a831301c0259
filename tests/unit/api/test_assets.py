"""Assets over Comfy API v2."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blake3 import blake3

from tests.unit.api.rig import Rig, rig


@pytest.fixture
async def api(tmp_path: Path):
    (tmp_path / "shared").mkdir()
    async with rig(tmp_path, dispatch=False, folders=(tmp_path / "shared",)) as found:
        yield found


def digest(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


async def upload(api: Rig, data: bytes, who: str = "ann", name: str = "photo.png", **fields: str):
    form = aiohttp.FormData()
    for key, value in {"content_type": "image/png", "file_path": name, **fields}.items():
        form.add_field(key, value)
    form.add_field("file", BytesIO(data), filename=name, content_type="image/png")
    return await api.ask("POST", "/assets", who, data=form)


async def test_a_file_is_stored_once_and_named_as_often_as_wanted(api: Rig) -> None:
    status, first, _ = await upload(api, b"bytes", expected_hash=digest(b"bytes"))
    assert (status, first["created_new"], first["size_bytes"], first["hash"]) == (201, True, 5, digest(b"bytes"))
    status, second, _ = await upload(api, b"bytes", name="other.png")
    assert (status, second["created_new"], second["file_path"]) == (200, False, "other.png")
    assert second["id"] != first["id"]
    status, third, _ = await api.ask("POST", "/assets/from-hash", json={"hash": first["hash"], "file_path": "c.png"})
    assert (status, third["file_path"], third["created_new"]) == (200, "c.png", False)
    assert (await api.ask("GET", f"/assets/{third['id']}/content"))[1] == b"bytes"
    assert (await api.ask("HEAD", f"/assets/by-hash/{first['hash']}"))[0] == 200


async def test_others_bytes_are_not_told(api: Rig) -> None:
    _, asset, _ = await upload(api, b"secret")
    assert (await api.ask("HEAD", f"/assets/by-hash/{asset['hash']}", "bob"))[0] == 404
    status, error, _ = await api.ask("POST", "/assets/from-hash", "bob", json={"hash": asset["hash"]})
    assert (status, error["error"]["code"]) == (404, "blob_not_found")
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert (await api.ask(method, f"/assets/{asset['id']}{path}", "bob"))[0] == 404
    status, own, _ = await upload(api, b"secret", "bob")
    assert (status, own["created_new"]) == (201, True)


async def test_no_job_takes_others_bytes_by_their_hash(api: Rig) -> None:
    data = b"hers"
    _, hers, _ = await upload(api, data, "ann")
    unknown = "0" * 64
    for path, wrap in (("/jobs", lambda job: job), ("/batches", lambda job: {"jobs": [job]})):
        for named in (hers["hash"], hers["hash"].removeprefix("blake3:"), unknown, "../../x", "\x00"):
            status, error, _ = await api.ask("POST", path, "bob", json=wrap({"workflow": _loading(named)}))
            assert (status, error["error"]["code"]) == (422, "missing_asset"), (path, named)
        assert (await api.ask("POST", path, "ann", json=wrap({"workflow": _loading(hers["hash"])})))[0] == 201
    assert (await upload(api, data, "bob"))[0] in (200, 201)
    assert (await api.ask("POST", "/jobs", "bob", json={"workflow": _loading(hers["hash"])}))[0] == 201


def _loading(named: str) -> dict[str, Any]:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": {"$asset": named}}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


async def test_what_came_must_have_the_hash_that_was_said(api: Rig) -> None:
    status, error, _ = await upload(api, b"bytes", expected_hash=digest(b"others"))
    assert (status, error["error"]["code"]) == (409, "hash_mismatch")
    assert not list((api.queue.folder / "incoming").iterdir())


async def test_ranges(api: Rig) -> None:
    _, asset, _ = await upload(api, bytes(range(100)))
    place = f"/assets/{asset['id']}/content"
    for wanted, status, got in (
        ("bytes=0-4", 206, bytes(range(5))),
        ("bytes=95-", 206, bytes(range(95, 100))),
        ("bytes=-3", 206, bytes(range(97, 100))),
        ("bytes=90-200", 206, bytes(range(90, 100))),
    ):
        found = await api.ask("GET", place, headers={"Range": wanted})
        assert (found[0], found[1]) == (status, got), wanted
    for beyond in ("bytes=100-", f"bytes={'9' * 6_000}-"):
        status, error, headers = await api.ask("GET", place, headers={"Range": beyond})
        assert (status, error["error"]["code"]) == (416, "range_not_satisfiable")
        assert headers["Content-Range"] == "bytes */100"
    for odd in (f"bytes=-{'9' * 6_000}", f"bytes=0-{'9' * 6_000}", f"bytes={'0' * 6_000}-9", "bytes=\u00b2-"):
        assert (await api.ask("GET", place, headers={"Range": odd}))[0] < 500, odd[:20]
    _, _, headers = await api.ask("GET", place)
    assert (await api.ask("GET", place, headers={"If-None-Match": headers["ETag"]}))[0] == 304
    assert (await api.ask("HEAD", place))[2]["Content-Length"] == "100"


async def test_deleted_assets_are_gone(api: Rig) -> None:
    _, asset, _ = await upload(api, b"bytes")
    assert (await api.ask("DELETE", f"/assets/{asset['id']}"))[0] == 204
    assert (await api.ask("GET", f"/assets/{asset['id']}"))[0] == 404
    assert (await api.ask("HEAD", f"/assets/by-hash/{asset['hash']}"))[0] == 404


async def test_files_of_named_folders_only_are_registered_by_path(api: Rig, tmp_path: Path) -> None:
    (tmp_path / "shared" / "a.wav").write_bytes(b"sound")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "shared" / "link.txt").symlink_to(tmp_path / "secret.txt")
    status, asset, _ = await api.ask("POST", "/assets/from-path", json={"path": str(tmp_path / "shared" / "a.wav")})
    assert (status, asset["file_path"], asset["size_bytes"]) == (201, "a.wav", 5)
    for path in ("secret.txt", "shared/link.txt", "shared/../secret.txt", "shared", "shared/none.txt"):
        status, error, _ = await api.ask("POST", "/assets/from-path", json={"path": str(tmp_path / path)})
        assert (status, error["error"]["code"]) == (404, "blob_not_found"), path


async def test_active_content_is_only_ever_saved(api: Rig) -> None:
    _, asset, _ = await upload(api, b"<script>", name="a.html", content_type="text/html")
    _, _, headers = await api.ask("GET", f"/assets/{asset['id']}/content")
    assert headers["Content-Disposition"].startswith("attachment") and headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b", "C:/a.png", "a\x00.png", "", "a" * 2000])
async def test_names_that_leave_their_folder_are_refused(api: Rig, name: str) -> None:
    _, asset, _ = await upload(api, b"bytes")
    status, error, _ = await api.ask("POST", "/assets/from-hash", json={"hash": asset["hash"], "file_path": name})
    assert (status, error["error"]["code"]) == (400, "invalid_request")


async def test_uploads_that_are_none_are_refused_and_leave_nothing(api: Rig) -> None:
    status, error, _ = await upload(api, b"x" * 1024 * 1024 + b"x")
    assert (status, error["error"]["code"]) == (413, "payload_too_large")
    for data, kind in (
        (b"{}", "application/json"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
    ):
        status, error, _ = await api.ask("POST", "/assets", data=data, headers={"Content-Type": kind})
        assert (status, error["error"]["code"]) == (400, "invalid_request"), data
    assert not list((api.queue.folder / "incoming").iterdir())
    assert (await api.ask("POST", "/assets/from-hash", json={"hash": "blake3:no"}))[0] == 400
