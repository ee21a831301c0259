"""Signed links to files over Comfy API v2."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from comfyops.jobs import links
from comfyops.jobs.exports import Exporter, ExportSettings
from tests.unit.api.rig import Rig, picture, rig
from tests.unit.api.test_assets import upload
from tests.unit.jobs.small_s3 import SmallS3


@pytest.fixture
async def api(tmp_path: Path):
    async with rig(tmp_path, dispatch=False) as found:
        yield found


async def follow(api: Rig, url: str, method: str = "GET", **headers: str):
    """Follow a link as nobody."""
    async with api.session.request(method, url, headers={"X-Who": "nobody", **headers}) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, (await answer.json() if is_json else await answer.read()), answer.headers


async def test_the_address_of_a_file_needs_no_credential_and_takes_ranges(api: Rig) -> None:
    _, asset, _ = await upload(api, bytes(range(100)))
    status, data, headers = await follow(api, asset["url"])
    assert (status, data, headers["Content-Type"]) == (200, bytes(range(100)), "image/png")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert 0 < int(headers["Cache-Control"].split("max-age=")[1].split(",")[0]) <= 3600
    assert (await follow(api, asset["url"], Range="bytes=95-"))[:2] == (206, bytes(range(95, 100)))
    status, _, headers = await follow(api, asset["url"], "HEAD")
    assert (status, headers["Content-Length"]) == (200, "100")
    assert (await follow(api, f"{api.url}/api/v2/assets/{asset['id']}/content"))[0] == 401


async def test_what_a_link_says_cannot_be_changed_or_guessed(api: Rig) -> None:
    _, asset, _ = await upload(api, b"mine")
    _, other, _ = await upload(api, b"others", "bob")
    expires, signature = urlsplit(asset["url"]).query.split("&")
    for url in (
        asset["url"].replace(asset["id"], other["id"]),
        asset["url"].replace(expires, "expires=99999999999"),
        asset["url"].replace(signature, "signature="),
        asset["url"].partition("?")[0],
        asset["url"].partition("?")[0] + "?signature=%ff&expires=1",
        f"{api.url}/api/v2/signed/..%2f..%2fqueue.db?{expires}&{signature}",
    ):
        status, error, _ = await follow(api, url)
        assert status in (403, 404) and error["error"]["code"] in ("forbidden", "not_found"), url


async def test_an_expired_link_and_one_to_a_deleted_file_are_gone(api: Rig) -> None:
    _, asset, _ = await upload(api, b"bytes")
    secret = await api.queue.link_keys.secret()
    old = links.make(asset["id"], api.queue.store.clock() - 100, 10).query(secret)
    status, error, _ = await follow(api, f"{asset['url'].partition('?')[0]}?{old}")
    assert (status, error["error"]["code"]) == (410, "url_expired")
    assert (await api.ask("DELETE", f"/assets/{asset['id']}"))[0] == 204
    status, error, _ = await follow(api, asset["url"])
    assert (status, error["error"]["code"]) == (410, "output_unavailable")


async def test_links_are_revoked_by_another_secret(api: Rig) -> None:
    _, asset, _ = await upload(api, b"bytes")
    await api.queue.link_keys.rotate()
    assert (await follow(api, asset["url"]))[0] == 403
    _, fresh, _ = await api.ask("GET", f"/assets/{asset['id']}")
    assert (await follow(api, fresh["url"]))[:2] == (200, b"bytes")


async def test_outputs_of_a_job_have_links_and_one_that_was_copied_a_link_of_its_bucket(tmp_path: Path) -> None:
    async with SmallS3("renders") as s3, rig(tmp_path) as api:
        where = f"s3://renders/out?endpoint={s3.url}&region=eu-west-1"
        exporter = Exporter(api.queue.store, api.queue.files, ExportSettings(where))
        await exporter.export_due()
        job = await api.done((await api.submit(workflow=picture()))["id"])
        [output] = job["outputs"]
        status, data, _ = await follow(api, output["url"])
        assert status == 200 and data[:4] == b"\x89PNG"
        asked = f"/assets/{output['id']}?delivered=true"
        assert (await api.ask("GET", asked))[1]["delivered_url"] is None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            await exporter.export_due()
            url = (await api.ask("GET", asked))[1]["delivered_url"]
            assert (await follow(api, url))[:2] == (200, data)
            s3.objects.clear()
            assert (await api.ask("GET", asked))[1]["delivered_url"] is None
        assert (await api.ask("GET", f"/assets/{output['id']}"))[1]["delivered_url"] is None
        assert (await api.ask("GET", asked, "bob"))[0] == 404


async def test_jobs_that_want_memory_wait_apart(api: Rig) -> None:
    status, job, _ = await api.ask("POST", "/jobs", json={"workflow": picture(), "needs_vram_gb": 11.5})
    assert status == 201
    found = await api.queue.get(job["id"])
    assert found.needs_key != (await api.queue.get((await api.submit())["id"])).needs_key
    status, error, _ = await api.ask("POST", "/jobs", json={"workflow": picture(), "needs_vram_gb": -1})
    assert (status, error["error"]["code"]) == (400, "invalid_request")


async def test_a_job_that_wants_more_memory_than_any_device_has_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with rig(tmp_path) as api:
        await api.done((await api.submit())["id"])  # now it is known what the backend offers
        body = {"workflow": picture(), "needs_vram_gb": 99_000}
        status, error, _ = await api.ask("POST", "/jobs", json=body)
        assert (status, error["error"]["code"]) == (422, "no_backend")
        assert "GiB" in error["error"]["details"]["reasons"][0]
