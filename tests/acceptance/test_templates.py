"""Templates by name, named inputs and pinned ones, from the command line to a server."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

from PIL import Image

from comfyops.workflows import embedded
from tests.acceptance.processes import Server, comfyops


def test_templates_are_listed_found_shown_and_written(folder: Path) -> None:
    everything = comfyops("templates", "ls", "--json", folder=folder).data
    assert len(everything) >= 600 and {"name", "title", "capabilities", "open_source"} <= set(everything[0])
    found = comfyops("templates", "search", "图像", "编辑", "--json", folder=folder).data
    assert 0 < len(found) <= 20
    shown = comfyops("templates", "show", "flux_schnell", "--json", folder=folder).data
    assert "prompt" in [item["name"] for item in shown["inputs"]] and shown["model_files"][0]["url"]
    done = comfyops("templates", "get", "flux_schnell", "--to", "api", "-o", "mine.json", folder=folder)
    assert done.code == 0 and comfyops("workflow", "validate", "mine.json", folder=folder).code == 0
    comfyops("templates", "show", "flux_scnell", folder=folder).failed_with("unknown_template", "flux_schnell")


def test_a_template_runs_by_its_name_with_named_inputs(server: Server, folder: Path) -> None:
    options = ("--set", "prompt=a red fox", "--set", "seed=7", "--set", "width=64", "--set", "height=96")
    done = comfyops("run", "flux_schnell", *options, "--json", "--server", server.url, "-o", "out", folder=folder)
    made = folder / done.data["outputs"][0]["path"]
    with Image.open(made) as picture:
        assert picture.size == (64, 96)
    graph = embedded.read(made.read_bytes())
    texts = [(node.inputs or {}).get("text") for node in graph.of_class("CLIPTextEncode")]
    assert "a red fox" in texts


def test_inputs_are_listed_with_their_schema_and_as_pinned(folder: Path) -> None:
    pins = "inputs:\n  motif: {from: prompt, default: a harbour}\nhide: [cfg]\n"
    (folder / "painted.inputs.yaml").write_text(pins)
    listed = {
        item["name"]: item for item in comfyops("workflow", "inputs", "painted.json", "--json", folder=folder).data
    }
    assert listed["motif"]["default"] == "a harbour" and listed["motif"]["targets"] == ["2.text"]
    assert "cfg" not in listed and "prompt" not in listed
    schema = json.loads(comfyops("workflow", "inputs", "painted.json", "--schema", folder=folder).out)
    assert schema["properties"]["seed"]["type"] == "integer" and "motif" in schema["properties"]


def test_pinned_defaults_are_set_where_nothing_else_is_given(server: Server, folder: Path) -> None:
    (folder / "painted.inputs.yaml").write_text("inputs:\n  motif: {from: prompt, default: a harbour}\n")
    for options, text in (((), "a harbour"), (("--set", "motif=a mill"), "a mill")):
        done = comfyops("run", "painted.json", *options, "--json", "--server", server.url, "-o", "out", folder=folder)
        graph = embedded.read((folder / done.data["outputs"][0]["path"]).read_bytes())
        assert (graph["2"].inputs or {})["text"] == text


def test_a_mask_becomes_the_alpha_channel_of_its_picture(server: Server, folder: Path) -> None:
    Image.new("RGB", (32, 16), "red").save(folder / "scene.png")
    half = Image.new("L", (64, 32), 0)
    half.paste(255, (0, 0, 32, 32))
    half.save(folder / "where.png")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
        "3": {
            "class_type": "ImageCompositeMasked",
            "inputs": {
                "destination": ["1", 0], "source": ["2", 0], "mask": ["1", 1], "x": 0, "y": 0, "resize_source": False,
            },
        },
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "masked"}},
    }  # fmt: skip
    (folder / "masked.json").write_text(json.dumps(graph))
    options = ("--set", "mask=where.png", "--set", "image=scene.png", "--server", server.url, "-o", "out", "--json")
    done = comfyops("run", "masked.json", *options, folder=folder)
    with Image.open(folder / done.data["outputs"][0]["path"]) as made:
        assert (made.convert("RGB").getpixel((4, 8)), made.convert("RGB").getpixel((28, 8))) == (
            (0, 0, 255),
            (255, 0, 0),
        )


def test_own_folders_and_saved_workflows_are_part_of_the_library(server: Server, folder: Path) -> None:
    (folder / "library" / "sub").mkdir(parents=True)
    (folder / "picture.json").rename(folder / "library" / "sub" / "tiny.json")
    listed = comfyops("templates", "ls", "--library", "library", "--category", "folder", "--json", folder=folder).data
    assert [item["name"] for item in listed] == ["sub/tiny"]
    name = "folder/my füchse 100%"
    address = f"{server.url}/userdata/{quote(quote(f'workflows/{name}.json'), safe='')}"
    ui = comfyops("templates", "get", "flux_schnell", "-o", "ui.json", folder=folder)
    assert ui.code == 0
    urlopen(Request(address, data=(folder / "ui.json").read_bytes(), method="POST")).close()
    options = ("--saved", "--server", server.url)
    listed = comfyops("templates", "ls", "--category", "saved", *options, "--json", folder=folder).data
    assert [item["name"] for item in listed] == [name]
    shown = comfyops("templates", "show", name, *options, "--json", folder=folder).data
    assert "prompt" in [item["name"] for item in shown["inputs"]] and shown["source"] == "server"
