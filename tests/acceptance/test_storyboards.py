"""`comfyops storyboard` from the first file to the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.processes import Server, comfyops

BOARD = """\
project: {id: trial, title: Trial}
defaults: {size: 64x64, steps: 2}
sequences:
  - title: One
    shots:
      - title: A
        panels:
          - {id: first, prompt: a naïve café}
          - {id: second, prompt: a dog}
"""


def states(done: dict[str, object]) -> dict[str, str]:
    """Panel -> what became of it."""
    return {item["panel"]: item["state"] for item in done["panels"]}  # type: ignore[attr-defined]


def test_a_newcomer_goes_from_nothing_to_pictures(server: Server, tmp_path: Path) -> None:
    to = ("--server", server.url)
    assert comfyops("storyboard", "init", folder=tmp_path).out == "storyboard.yaml\n"
    checked = comfyops("storyboard", "validate", "storyboard.yaml", "--json", *to, folder=tmp_path).data
    assert [item["panel"] for item in checked] == ["leaving", "running"]
    first = comfyops("storyboard", "render", "storyboard.yaml", "--json", *to, folder=tmp_path).data
    assert states(first) == {"leaving": "rendered", "running": "rendered"} and first["simulated"] is True
    assert [item["seed"] for item in first["panels"]] == [item["seed"] for item in checked]
    report = (tmp_path / first["report"]).read_text()
    assert "simulated" in report.lower() and str(first["panels"][0]["seed"]) in report
    with Image.open(tmp_path / first["contact_sheet"]) as sheet:
        assert sheet.width > 200

    again = comfyops("storyboard", "render", "storyboard.yaml", "--json", *to, folder=tmp_path).data
    assert states(again) == {"leaving": "kept", "running": "kept"}
    shown = comfyops("storyboard", "show", Path(first["folder"]), folder=tmp_path)
    assert [line.split()[:2] for line in shown.out.splitlines()] == [["leaving", "kept"], ["running", "kept"]]
    asked = comfyops("storyboard", "init", folder=tmp_path)
    asked.failed_with("usage", "exists already", "--force", exit_code=2)


def test_only_what_changed_or_went_missing_is_rendered_again(server: Server, tmp_path: Path) -> None:
    render = ("storyboard", "render", "board.yaml", "-o", "out", "--json", "--server", server.url)
    (tmp_path / "board.yaml").write_text(BOARD)
    first = comfyops(*render, folder=tmp_path).data
    (tmp_path / "board.yaml").write_text(BOARD.replace("a dog", "a cat"))
    assert states(comfyops(*render, folder=tmp_path).data) == {"first": "kept", "second": "rendered"}
    (tmp_path / first["panels"][0]["picture"]).unlink()
    assert states(comfyops(*render, folder=tmp_path).data) == {"first": "rendered", "second": "kept"}
    assert states(comfyops(*render, "--force", folder=tmp_path).data) == {"first": "rendered", "second": "rendered"}


def test_the_demo_needs_no_server(tmp_path: Path) -> None:
    done = comfyops("storyboard", "demo", "-o", "démo", folder=tmp_path)
    assert done.code == 0 and "embedded simulator" in done.err and "4 rendered, 0 unchanged, 0 failed" in done.err
    assert sorted(path.name for path in (tmp_path / "démo").iterdir()) == [
        "contact-sheet.png",
        "panels",
        "render.json",
        "report.html",
    ]
    assert "contact sheet: démo/contact-sheet.png" in done.out


@pytest.mark.parametrize("fault", ["model: nosuch.safetensors", "reference: {image: nosuch.png}"])
def test_a_panel_that_fails_is_told_and_the_others_are_rendered(server: Server, tmp_path: Path, fault: str) -> None:
    (tmp_path / "board.yaml").write_text(BOARD.replace("prompt: a dog", f"prompt: a dog, {fault}"))
    done = comfyops(
        "storyboard", "render", "board.yaml", "-o", "out", "--json", "--server", server.url, folder=tmp_path
    )
    assert (done.code, done.envelope["ok"]) == (1, False)
    good, bad = done.envelope["data"]["panels"]
    assert (good["state"], bad["state"]) == ("rendered", "failed")
    assert bad["error"]["code"] and "nosuch." in bad["error"]["message"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "storyboard", "`project` and `sequences`"),
        ("project: [", "not_json", "line"),
        (BOARD.replace("prompt: a dog", "promt: a dog"), "storyboard", "promt"),
        (BOARD.replace("steps: 2", "steps: many"), "storyboard", "steps"),
        (BOARD.replace("id: second", "id: ../second"), "storyboard", "../second"),
        (BOARD.replace("id: second", "id: first"), "storyboard", "first"),
    ],
    ids=["empty", "no YAML", "unknown key", "wrong type", "unsafe id", "double id"],
)
def test_a_wrong_storyboard_is_told_and_nothing_is_made(
    server: Server, tmp_path: Path, text: str, code: str, words: str
) -> None:
    (tmp_path / "board.yaml").write_text(text)
    done = comfyops("storyboard", "render", "board.yaml", "-o", "out", "--server", server.url, folder=tmp_path)
    done.failed_with(code, words, "hint:")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_told_before_anything_runs(server: Server, folder: Path) -> None:
    before = len(server.get("/history"))
    (folder / "board.yaml").write_text(BOARD)
    for command in (("run", "picture.json"), ("storyboard", "render", "board.yaml"), ("storyboard", "demo")):
        done = comfyops(*command, "-o", "load.json", "--server", server.url, folder=folder)
        done.failed_with("storage", "load.json is a file", "hint:")
    done = comfyops("nodes", "snapshot", "-o", "load.json/facts.json", "--server", server.url, folder=folder)
    done.failed_with("storage", "load.json")
    assert len(server.get("/history")) == before
    assert json.loads((folder / "load.json").read_text())
