"""Files of others stay theirs, however their names are written, with and without the durable queue."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from PIL import Image

from comfyops.gateway import naming
from comfyops.gateway.owners import File
from comfyops.workflows.graph import Graph, Node
from tests.unit.gateway.house import House, durable_house, finished, house


def png(colour: str = "red") -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
        return buffer.getvalue()


def form(data: bytes, name: str, **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    for key, value in fields.items():
        made.add_field(key, value)
    made.add_field("image", data, filename=name, content_type="image/png")
    return made


def loading(text: object, class_type: str = "LoadImage") -> dict[str, Any]:
    return {
        "1": {"class_type": class_type, "inputs": {"image": text}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "taken"}},
    }


SAVING = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "people/made"}},
}
FOLDERS = ["", ".", "./", "./.", "//", "\\", "x/..", "../input"]
DEEPER = ["people", "people/", "people/.", "./people", "people//", "x/../people", "people\\", "people/\0"]
NAMES = [
    *("people/a.png", "./people/a.png", "people//a.png", "people/./a.png", "x/../people/a.png", "people\\a.png"),
    *("people/a.png [input]", "people//a.png [input]", "people/a.png?[input]", "people/a.png[input]", " people/a.png"),
    *("people/a.png  [input] ", "./" * 300 + "people/a.png"),
]
OUT = ["../output/people/made_00001_.png", "/opt/pictures/a.png", "C:\\pictures\\a.png", "people/../../x/a.png"]
MADE = [
    *("people/made_00001_.png [output]", "./people/made_00001_.png [output]", "people/made_00001_.png.[output]"),
    "people/made_00001_.png[output]",
]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[House]:
    async with durable_house(tmp_path) as made:
        yield made


async def prompt(home: House, token: str, graph: dict[str, Any]) -> tuple[int, str]:
    status, answer = await home.ask("POST", "/prompt", token, json={"prompt": graph})
    return status, answer.get("prompt_id") or answer["error"]["code"]


async def test_an_upload_is_seen_by_nobody_else_however_its_place_is_written(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    for subfolder in ("", "people"):
        await home.ask("POST", "/upload/image", ann, data=form(png(), "a.png", subfolder=subfolder))
    for subfolder in FOLDERS + DEEPER:
        path = f"/view?filename=a.png&type=input&subfolder={quote(subfolder, safe='')}"
        assert (await home.ask("GET", path, bob))[0] == 404, subfolder
    assert (await home.ask("GET", "/view?filename=a.png&type=input&subfolder=./people//", ann))[0] == 200


async def test_a_workflow_names_no_file_of_others_however_it_is_written(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    await home.ask("POST", "/upload/image", ann, data=form(png(), "a.png", subfolder="people"))
    _, job = await prompt(home, ann, SAVING)
    await finished(home, ann, job)
    for text in [*NAMES, *OUT, *MADE, {"__value__": "people/a.png"}, ["people/a.png"]]:
        assert (await prompt(home, bob, loading(text))) == (403, "not_your_file"), text
    for text in ("people/a.png", "people/made_00001_.png [output]"):
        assert (await prompt(home, ann, loading(text)))[0] == 200, text


async def test_with_the_durable_queue_no_text_reaches_the_servers_own_results(durable: House) -> None:
    ann, bob = durable.token("ann"), durable.token("bob")
    _, job = await prompt(durable, ann, SAVING)
    await finished(durable, ann, job)
    for text in [*OUT, *MADE, {"__value__": MADE[0]}, f"./jobs/{job}/people/made_00001_.png [output]"]:
        for token in (ann, bob):
            assert (await prompt(durable, token, loading(text))) == (403, "not_your_file"), text
    assert (await prompt(durable, bob, loading(f"jobs/{job}/people/made_00001_.png [output]")))[0] == 403
    status, taken = await prompt(durable, ann, loading(f"jobs/{job}/people/made_00001_.png [output]"))
    assert status == 200
    await finished(durable, ann, taken)


async def test_ones_own_temporary_upload_may_be_named(durable: House) -> None:
    ann, bob = durable.token("ann"), durable.token("bob")
    await durable.ask("POST", "/upload/image", ann, data=form(png(), "m.png", type="temp", subfolder="painter"))
    assert (await prompt(durable, bob, loading("painter/m.png [temp]")))[0] == 403
    status, job = await prompt(durable, ann, loading("painter/m.png [temp]"))
    assert status == 200
    assert (await finished(durable, ann, job))["status"]["status_str"] == "success"


@pytest.mark.parametrize(
    "path",
    [
        "/api/assets",
        "/api/assets?limit=1",
        "/api/assets/tags/refine",
        "/api/tags",
        "/API/Assets/x",
        "/api/api/assets/x.png",
    ],
)
async def test_a_servers_assets_which_are_those_of_all_are_for_those_who_see_all(home: House, path: str) -> None:
    status, answer = await home.ask("GET", path, home.token("ann"))
    assert (status, answer["error"]["code"]) == (403, "assets_of_all")
    status, answer = await home.ask("GET", path, home.token("op", "operator"))
    assert status != 403
    bob = home.token("bob")
    for own in ("/assets/index.js", "/assets/images/icon.png"):
        assert (await home.ask("GET", own, bob))[0] != 403
    assert (await home.ask("GET", f"/view?type=input&filename=blake3:{'0' * 64}", home.token("eve")))[0] == 404


async def test_who_sends_the_same_picture_does_not_get_to_replace_it(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    for token in (ann, bob):
        _, answer = await home.ask("POST", "/upload/image", token, data=form(png(), "a.png"))
        assert answer["name"] == "a.png"
    _, answer = await home.ask("POST", "/upload/image", bob, data=form(png("blue"), "a.png", overwrite="true"))
    assert answer["name"] != "a.png"
    async with home.session.get(
        home.url + "/view?filename=a.png&type=input", headers={"Authorization": f"Bearer {ann}"}
    ) as response:
        assert await response.read() == png()


@pytest.mark.parametrize(
    "text",
    ["", "/", "a / b", "a/b", "../", "..", "/ one / two", "\\frac{a}{b}/c", "1/2 a cup, 3/4 done", "one\n/two/three"],
)
def test_texts_that_are_no_paths_lead_nowhere(text: str) -> None:
    assert not naming.leads_out(text)


@pytest.mark.parametrize(
    "text", [*OUT, "\\\\server\\share\\a.png", "/etc/a.png", "../../a.png", "a/../../b.png [input]"]
)
def test_paths_out_of_a_servers_folders_are_seen(text: str) -> None:
    assert naming.leads_out(text)


def test_what_a_text_may_mean() -> None:
    a = File("input", "people", "a.png")
    assert naming.named("people//./a.png") == ("", (a,))
    assert naming.named("people/a.pngX[output]")[1][0] == File("output", "people", "a.png")
    assert naming.named("../a.png") == ("", ()) and naming.named("") == ("", ())


@pytest.mark.parametrize(("folder", "read"), [("people", "people"), ("./people//x", "people/x"), (7, ""), ("..", "")])
def test_nodes_that_read_whole_folders_are_known(folder: Any, read: str) -> None:
    assert naming.folder_read(Node("1", "LoadImageTextDataSetFromFolder", {"folder": folder})) == read
    assert naming.folder_read(Node("1", "LoadImage", {"folder": folder})) is None


@pytest.mark.parametrize("mode", [house, durable_house])
async def test_a_camera_that_poses_as_a_file_of_others_shows_nothing_of_it(mode: Any, tmp_path: Path) -> None:
    async with mode(tmp_path) as home:
        ann, bob = home.token("ann"), home.token("bob")
        _, job = await prompt(home, ann, SAVING)
        await finished(home, ann, job)
        posing = {"filename": "made_00001_.png", "type": "output", "subfolder": "people"}
        for model in ("x.txt", "people/made_00001_.glb"):
            shown = {"class_type": "Preview3D", "inputs": {"model_file": model, "camera_info": posing}}
            status, taken = await prompt(home, bob, {"1": shown})
            assert status == 200
            outputs = (await finished(home, bob, taken))["outputs"]
            assert f"jobs/{taken}" not in json.dumps(outputs)
            for subfolder in ("people", f"jobs/{taken}/people", f"jobs/{taken}"):
                path = f"/view?filename=made_00001_.png&subfolder={quote(subfolder, safe='')}"
                assert (await home.ask("GET", path, bob))[0] == 404, subfolder


@pytest.mark.parametrize("mode", [house, durable_house])
async def test_training_sets_that_others_may_have_kept_are_not_read(mode: Any, tmp_path: Path) -> None:
    reading = {"class_type": "LoadTrainingDataset", "inputs": {"folder_name": "people"}}
    async with mode(tmp_path) as home:
        assert await prompt(home, home.token("bob"), {**SAVING, "3": reading}) == (403, "not_your_file")
        assert (await prompt(home, home.token("op", "operator"), {**SAVING, "3": reading}))[1] != "not_your_file"


@pytest.mark.parametrize("prefix", ["people/made/", "people/made/.", "people/made/x/..", ["3", 0], ["4", 0]])
@pytest.mark.parametrize("mode", [house, durable_house])
async def test_prefixes_that_servers_do_not_count_write_over_nothing(mode: Any, prefix: Any, tmp_path: Path) -> None:
    node = {**SAVING["2"], "inputs": {**SAVING["2"]["inputs"], "filename_prefix": prefix}}
    text = {"class_type": "PrimitiveString", "inputs": {"value": "people/made/"}}
    joined = {"string_a": "people/made", "string_b": "/", "delimiter": ""}
    graph = {**SAVING, "2": node, "3": text, "4": {"class_type": "StringConcatenate", "inputs": joined}}
    async with mode(tmp_path) as home:
        assert await prompt(home, home.token("bob"), graph) == (403, "not_your_file")
        assert (await prompt(home, home.token("op", "operator"), graph))[1] != "not_your_file"
        assert (await prompt(home, home.token("ann"), SAVING))[0] == 200


@pytest.mark.parametrize(
    ("class_type", "inputs", "name"),
    [
        ("SaveImage", {"filename_prefix": "a"}, None),
        ("SaveImage", {"filename_prefix": "a/b.c"}, None),
        ("SaveImage", {"filename_prefix": ""}, "filename_prefix"),
        ("SaveImage", {"filename_prefix": "a\\"}, "filename_prefix"),
        ("SaveLoRA", {"prefix": "loras/a/"}, "prefix"),
        ("StringConcatenate", {"string_a": "a/"}, None),
        ("SaveTrainingDataset", {"folder_name": "a"}, "folder_name"),
        ("SaveImageDataSetToFolder", {"mode": "overwrite"}, "mode"),
        ("SaveImageTextDataSetToFolder", {"mode": "increment", "filename_prefix": "a"}, None),
    ],
)
def test_nodes_that_may_write_over_files_are_known(class_type: str, inputs: dict[str, str], name: str | None) -> None:
    node = Node("1", class_type, inputs)
    assert naming.overwritten_by(Graph({"1": node}), node) == name


@pytest.mark.parametrize("mode", [house, durable_house])
async def test_uploads_of_others_and_those_of_nobody_are_missing_in_the_same_words(mode: Any, tmp_path: Path) -> None:
    async with mode(tmp_path) as home:
        ann, bob = home.token("ann"), home.token("bob")
        assert (await home.ask("POST", "/upload/image", ann, data=form(png(), "a.png", subfolder="people")))[0] == 200
        found = []
        for name in ("a.png", "b.png"):
            for query in ("", "&preview=webp;90"):
                path = f"/view?filename={name}&type=input&subfolder=people{query}"
                async with home.session.get(home.url + path, headers={"Authorization": f"Bearer {bob}"}) as response:
                    said = {key: value for key, value in response.headers.items() if key.lower() != "date"}
                    found.append((response.status, await response.read(), said))
        assert found[0][0] == 404 and found.count(found[0]) == 4
