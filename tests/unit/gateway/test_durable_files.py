"""Files of people over the durable queue: outputs in a subfolder of their job, uploads, masks, and what names them."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from comfyops.testing import graphs
from tests.unit.gateway.house import DurableHouse, durable_house, finished
from tests.unit.gateway.test_durable_jobs import NOWHERE, submit


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    async with durable_house(tmp_path) as made:
        yield made


def png(color: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(
    home: DurableHouse, token: str, data: bytes, name: str = "a.png", path: str = "/upload/image", **fields: str
) -> tuple[int, Any]:
    form = aiohttp.FormData(fields)
    form.add_field("image", data, filename=name, content_type="image/png")
    return await home.ask("POST", path, token, data=form)


async def view(home: DurableHouse, token: str, place: dict[str, str], **options: Any) -> tuple[int, bytes, Any]:
    headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
    method = options.pop("method", "GET")
    async with home.session.request(method, f"{home.url}/view", params={**place, **options}, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def made(home: DurableHouse, token: str, graph: Any = None) -> tuple[str, dict[str, str]]:
    """A job that is done, and the place of its picture."""
    job = await submit(home, token, graph)
    (node,) = (await finished(home, token, job))["outputs"].values()
    return job, node["images"][0]


async def test_an_output_lies_in_a_subfolder_of_its_job(home: DurableHouse) -> None:
    ann = home.token("ann")
    job, place = await made(home, ann)
    assert place["subfolder"] == f"jobs/{job}" and place["type"] == "output"
    status, data, headers = await view(home, ann, place)
    assert status == 200 and Image.open(io.BytesIO(data)).size == (16, 16)
    assert headers["Content-Type"] == "image/png" and headers["X-Content-Type-Options"] == "nosniff"
    assert place["filename"] in headers["Content-Disposition"]
    assert (await view(home, ann, {**place, "type": ""}))[0] == 200
    nested, where = await made(home, ann, graphs.picture(prefix="people/cat"))
    assert where["subfolder"] == f"jobs/{nested}/people" and (await view(home, ann, where))[0] == 200


async def test_two_servers_with_one_name_make_two_files(home: DurableHouse) -> None:
    ann = home.token("ann")
    (_, first), (_, second) = [await made(home, ann, graphs.picture(color, prefix="same")) for color in (1, 2)]
    assert first["subfolder"] != second["subfolder"]
    assert (await view(home, ann, first))[1] != (await view(home, ann, second))[1]


async def test_outputs_are_their_owners_and_the_operators(home: DurableHouse) -> None:
    ann, bob, boss = home.token("ann"), home.token("bob"), home.token("boss", "operator")
    job, place = await made(home, ann)
    assert [(await view(home, who, place))[0] for who in (ann, bob, boss)] == [200, 404, 200]
    for odd in (
        {**place, "filename": "other.png"},
        {**place, "filename": f"../{place['filename']}"},
        {**place, "type": "temp"},
        {**place, "type": "bogus"},
        {**place, "subfolder": f"jobs/{NOWHERE}"},
        {**place, "subfolder": f"jobs/{job}/.."},
        {**place, "subfolder": ""},
    ):
        for who in (ann, bob):
            assert (await view(home, who, odd))[0] == 404, odd
    assert (await home.ask("GET", "/view?filename=a&filename=b", ann))[0] == 400


async def test_parts_of_a_file(home: DurableHouse) -> None:
    ann = home.token("ann")
    _, place = await made(home, ann)
    _, whole, headers = await view(home, ann, place)
    size, tag = len(whole), headers["ETag"]
    for asked, status, part in (
        ("bytes=0-9", 206, whole[:10]),
        ("bytes=10-", 206, whole[10:]),
        ("bytes=-5", 206, whole[-5:]),
        (f"bytes=0-{size + 100}", 206, whole),
        (f"bytes={size}-", 416, b""),
        ("bytes=-0", 416, b""),
        (f"bytes=0-{'9' * 6_000}", 206, whole),
        (f"bytes=-{'9' * 6_000}", 206, whole),
        (f"bytes={'9' * 6_000}-", 416, b""),
        (f"bytes={'0' * 6_000}-9", 206, whole[:10]),
        ("bytes=5-2", 200, whole),
        ("bytes=0-1,4-5", 200, whole),
        ("lines=0-9", 200, whole),
        ("bytes=x-", 200, whole),
    ):
        got, data, told = await view(home, ann, place, headers={"Range": asked})
        assert (got, data) == (status, part), asked
        if status == 206:
            first = whole.index(part) if part != whole[-5:] else size - 5
            assert told["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{size}"
        elif status == 416:
            assert told["Content-Range"] == f"bytes */{size}"
    assert (await view(home, ann, place, headers={"If-None-Match": tag}))[:2] == (304, b"")
    assert (await view(home, ann, place, headers={"If-None-Match": f'"x", W/{tag}'}))[0] == 304
    stale = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert (await view(home, ann, place, headers=stale))[:2] == (200, whole)
    fresh = {"Range": "bytes=0-9", "If-Range": tag}
    assert (await view(home, ann, place, headers=fresh))[:2] == (206, whole[:10])
    status, data, told = await view(home, ann, place, method="HEAD")
    assert (status, data, told["Content-Length"]) == (200, b"", str(size))


async def test_pictures_are_shown_smaller_and_by_channel(home: DurableHouse) -> None:
    ann = home.token("ann")
    status, saved = await upload(home, ann, png((200, 100, 50, 128)))
    assert status == 200 and saved == {"name": "a.png", "subfolder": "", "type": "input"}
    place = {"filename": "a.png", "type": "input"}
    for preview, form in (
        ("webp;90", "WEBP"),
        ("webp", "WEBP"),
        ("jpeg;50", "JPEG"),
        ("jpeg;0", "JPEG"),
        ("x", "WEBP"),
    ):
        status, data, headers = await view(home, ann, place, preview=preview)
        picture = Image.open(io.BytesIO(data))
        assert status == 200 and picture.format == form and headers["Content-Type"] == f"image/{form.lower()}"
    _, data, _ = await view(home, ann, place, channel="rgb")
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (200, 100, 50)
    _, data, _ = await view(home, ann, place, channel="a")
    assert Image.open(io.BytesIO(data)).convert("RGBA").getpixel((0, 0))[3] == 128
    await upload(home, ann, b"no picture", "broken.png")
    assert (await view(home, ann, {"filename": "broken.png", "type": "input"}, preview="webp"))[0] == 400
    assert (await view(home, ann, {"filename": "broken.png", "type": "input"}))[:2] == (200, b"no picture")


async def test_what_a_browser_might_run_is_only_ever_saved(home: DurableHouse) -> None:
    ann = home.token("ann")
    for name in ("a.html", "a.svg", "a.js", "a.xml"):
        await upload(home, ann, b"<svg onload=alert(1)>", name)
        _, _, headers = await view(home, ann, {"filename": name, "type": "input"})
        assert headers["Content-Type"] == "application/octet-stream", name
        assert headers["Content-Disposition"].startswith("attachment"), name


async def test_uploads_of_two_people_with_one_name_are_two_files(home: DurableHouse) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    red, blue = png((255, 0, 0)), png((0, 0, 255))
    for who, data in ((ann, red), (bob, blue)):
        assert (await upload(home, who, data))[1]["name"] == "a.png"
        assert (await view(home, who, {"filename": "a.png", "type": "input"}))[1] == data
    for who, color in ((ann, (255, 0, 0)), (bob, (0, 0, 255))):
        _, place = await made(home, who, graphs.load("a.png"))
        data = (await view(home, who, place))[1]
        assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((3, 3)) == color


async def test_names_are_kept_numbered_or_overwritten_as_by_a_real_server(home: DurableHouse) -> None:
    ann = home.token("ann")
    first, second, third = (png((level, 0, 0)) for level in (1, 2, 3))
    assert (await upload(home, ann, first))[1]["name"] == "a.png"
    assert (await upload(home, ann, first))[1]["name"] == "a.png"
    assert (await upload(home, ann, second))[1]["name"] == "a (1).png"
    assert (await upload(home, ann, second))[1]["name"] == "a (1).png"
    assert (await upload(home, ann, third, overwrite="true"))[1]["name"] == "a.png"
    assert (await view(home, ann, {"filename": "a.png", "type": "input"}))[1] == third
    placed = await upload(home, ann, first, subfolder="deep\\er/")
    assert placed[1] == {"name": "a.png", "subfolder": "deep/er", "type": "input"}
    assert (await upload(home, ann, first, type="temp"))[1]["type"] == "temp"
    assert (await view(home, ann, {"filename": "a.png", "type": "temp"}))[1] == first


@pytest.mark.parametrize(
    ("name", "fields"),
    [("a.png", {"subfolder": "../x"}), ("../a.png", {}), ("a.png", {"type": "output"}), ("a.png", {"type": "bogus"})],
)
async def test_uploads_stay_in_their_folder(home: DurableHouse, name: str, fields: dict[str, str]) -> None:
    assert (await upload(home, home.token("ann"), png((1, 2, 3)), name, **fields))[0] in (400, 403)


async def test_forms_that_are_none_leave_nothing(home: DurableHouse, tmp_path: Path) -> None:
    ann = home.token("ann")
    for data, kind, status in (
        (b"{}", "application/json", 415),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400),
    ):
        answer = await home.ask("POST", "/upload/image", ann, data=data, headers={"Content-Type": kind})
        assert answer[0] == status, answer
    assert list((tmp_path / "queue" / "incoming").glob("*")) == []


async def test_a_mask_becomes_the_transparency_of_its_original(home: DurableHouse) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    _, place = await made(home, ann, graphs.picture(0xFF0000))
    mask = png((0, 0, 0, 77), (16, 16))
    ref = json.dumps(place)
    status, saved = await upload(
        home, ann, mask, "mask.png", "/upload/mask", original_ref=ref, subfolder="clipspace", type="input"
    )
    assert (status, saved["subfolder"]) == (200, "clipspace"), saved
    where = {"filename": saved["name"], "subfolder": "clipspace", "type": "input"}
    data = (await view(home, ann, where))[1]
    assert Image.open(io.BytesIO(data)).getpixel((5, 5)) == (255, 0, 0, 77)
    assert (await upload(home, bob, mask, "mask.png", "/upload/mask", original_ref=ref))[0] == 404
    for wrong, status in (("{", 400), ("[]", 400), ("", 400), ('{"filename": "none.png"}', 404)):
        assert (await upload(home, ann, mask, "m.png", "/upload/mask", original_ref=wrong))[0] == status, wrong
    assert (await upload(home, ann, b"none", "m.png", "/upload/mask", original_ref=ref))[0] == 400


async def test_a_job_takes_what_another_made(home: DurableHouse) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    job, place = await made(home, ann, graphs.picture(0x00FF00))
    name = f"{place['subfolder']}/{place['filename']} [output]"
    _, second = await made(home, ann, graphs.load(name))
    data = (await view(home, ann, second))[1]
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0)) == (0, 255, 0)
    body = {
        "prompt": {
            key: {"class_type": node.class_type, "inputs": {"image": name}}
            for key, node in [("1", graphs.load(name).nodes["1"])]
        }
    }
    body["prompt"]["2"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    assert (await home.ask("POST", "/prompt", bob, json=body))[0] == 403
    body["prompt"]["1"]["inputs"]["image"] = f"jobs/{job}/none.png [output]"
    assert (await home.ask("POST", "/prompt", ann, json=body))[0] == 400


async def test_everybody_is_told_the_names_of_his_own_files(home: DurableHouse) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    await upload(home, ann, png((1, 2, 3)), "a.png")
    await upload(home, ann, png((1, 2, 3)), "b.png", subfolder="deep")
    job, place = await made(home, ann)
    for who, kind, found in (
        (ann, "input", {"a.png [input]", "deep/b.png [input]"}),
        (bob, "input", set()),
        (ann, "output", {f"jobs/{job}/{place['filename']} [output]"}),
        (bob, "output", set()),
        (ann, "temp", set()),
    ):
        status, names = await home.ask("GET", f"/internal/files/{kind}", who)
        assert status == 200 and set(names) == found
    assert (await home.ask("GET", "/internal/files/bogus", ann))[0] == 400


async def test_inputs_that_nobody_uploaded_are_the_servers(home: DurableHouse) -> None:
    ann, there = home.token("ann"), png((1, 1, 1))
    for subfolder in ("", "comfyops"):
        form = aiohttp.FormData({"subfolder": subfolder})
        form.add_field("image", there, filename="example.png")
        async with home.session.post(f"{home.backend}/upload/image", data=form) as answer:
            assert answer.status == 200
    assert (await view(home, ann, {"filename": "example.png", "type": "input"}))[:2] == (200, there)
    assert (await view(home, ann, {"filename": "nothing.png", "type": "input"}))[0] == 404
    for subfolder in ("comfyops", "/comfyops", "./comfyops", "comfyops/.", "x/../comfyops", "COMFYOPS."):
        hidden = {"filename": "example.png", "subfolder": subfolder, "type": "input"}
        assert (await view(home, ann, hidden))[0] in (400, 403, 404), subfolder
