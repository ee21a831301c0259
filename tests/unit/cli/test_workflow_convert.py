"""`comfyops workflow convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyops.cli.main import run
from comfyops.workflows import node_types
from tests.unit.workflows.builders import sd15
from tests.unit.workflows.media import KINDS
from tests.unit.workflows.ui_builder import picture_chain


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_file_is_converted_both_ways(tmp_path: Path) -> None:
    source, api, drawn, again = (tmp_path / name for name in ("in.json", "api.json", "ui.json", "again.json"))
    source.write_text(json.dumps(picture_chain()))
    assert run(["workflow", "convert", str(source), "--to", "api", "-o", str(api)]) == 0
    assert read(api)["3"]["inputs"] == {"filename_prefix": "x", "images": ["2", 0]}
    assert run(["workflow", "convert", str(api), "--to", "ui", "-o", str(drawn)]) == 0
    assert len(read(drawn)["nodes"]) == 3
    assert run(["workflow", "convert", str(drawn), "--to", "api", "-o", str(again)]) == 0
    assert read(again) == read(api)


def test_files_of_a_folder_keep_their_names_and_one_bad_file_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(picture_chain()))
    (folder / "bad.json").write_text("{")
    (folder / "deep" / "b.json").write_text(json.dumps(sd15()))
    assert run(["workflow", "convert", str(folder), "--to", "api", "-o", str(out), "--json"]) == 1
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.json")) == ["a.json", "deep/b.json"]
    envelope = json.loads(capsys.readouterr().out)
    assert [(Path(item["file"]).name, item["error"]) for item in envelope["data"]] == [
        ("a.json", ""),
        ("bad.json", "not_json"),
        ("b.json", ""),
    ]


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_the_workflow_inside_a_media_file_is_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"x.{kind}").write_bytes(KINDS[kind]({"workflow": json.dumps(picture_chain())}))
    out = tmp_path / "out"
    out.mkdir()
    assert run(["workflow", "convert", str(tmp_path / f"x.{kind}"), "--to", "api", "-o", str(out)]) == 0
    assert set(read(out / "x.json")) == {"1", "2", "3"}


def test_given_node_facts_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"Only": {"input": {"required": {"a": ["INT", {"default": 4}]}}, "output": [], "name": "Only"}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "in.json").write_text(json.dumps({"nodes": [{"id": 1, "type": "Only"}, {"id": 2, "type": "Note"}]}))
    words = ["workflow", "convert", str(tmp_path / "in.json"), "--to", "api", "-o", str(tmp_path / "out.json")]
    assert run([*words, "--nodes", str(tmp_path / "facts.json")]) == 0
    assert read(tmp_path / "out.json")["1"]["inputs"] == {"a": 4}
    assert run(words) == 0
    assert "The server has no class 'Only'" in capsys.readouterr().out


def test_a_missing_file_and_two_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text("{}")
    out = str(tmp_path / "out")
    assert run(["workflow", "convert", str(tmp_path / "no.json"), "--to", "api", "-o", out]) == 1
    both = [str(tmp_path / name) for name in ("one", "two")]
    assert run(["workflow", "convert", *both, "--to", "api", "-o", out]) == 2
    assert "same name" in capsys.readouterr().err
    assert not Path(out).exists()


def test_an_error_in_a_single_file_is_the_commands_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.json"
    source.write_text('{"nodes": [], "definitions": {"subgraphs": [{"id": "a", "nodes": [{"id": 1, "type": "a"}]}]}}')
    assert run(["workflow", "convert", str(source), "--to", "api", "-o", str(tmp_path / "out.json"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "workflow_format"
    assert not (tmp_path / "out.json").exists()


def test_shipped_facts_of_another_version_can_be_chosen(tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text(json.dumps({"nodes": [{"id": 1, "type": "BatchImagesNode"}]}))
    for version in node_types.SHIPPED:
        words = ["workflow", "convert", str(source), "--to", "api", "-o", str(tmp_path / f"{version}.json")]
        assert run([*words, "--comfyui-version", version]) == 0
        assert read(tmp_path / f"{version}.json")["1"]["class_type"] == "BatchImagesNode"
