"""`comfyops workflow` and `comfyops nodes`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from PIL import Image

from comfyops.testing import graphs
from tests.acceptance.conftest import write
from tests.acceptance.processes import Server, comfyops

UI_FORMAT = {"nodes": [], "links": [], "version": 0.4}


def bad_files(folder: Path) -> dict[str, str]:
    """Write one file of each bad kind; gives the code of the error that each deserves."""
    texts = {
        "empty": "",
        "text": "no JSON",
        "half": '{"1": {"class_type": "SaveIm',
        "deep": "[" * 200_000,
        "deep-input": '{"1": {"class_type": "X", "inputs": {"a": ' + "[" * 500 + "]" * 500 + "}}}",
        "digits": '{"1": {"class_type": "X", "inputs": {"a": ' + "9" * 5000 + "}}}",
        "list": "[]",
        "null": "null",
        "settings": '{"a": 1, "b": "x"}',
        "ui": json.dumps(UI_FORMAT),
    }
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)
    (folder / "junk.json").write_bytes(bytes(range(128, 256)) * 50)
    with zipfile.ZipFile(folder / "zip.json", "w") as archive:
        archive.writestr("x", "y")
    codes = dict.fromkeys([*texts, "junk", "zip"], "not_json")
    return {**codes, **dict.fromkeys(["list", "null", "settings", "deep-input"], "workflow_format"), "ui": "ui_format"}


def test_every_bad_file_of_a_folder_gets_its_verdict_and_none_stops_the_others(tmp_path: Path) -> None:
    codes = bad_files(tmp_path)
    write(tmp_path / "good.json", graphs.picture(0))
    done = comfyops("workflow", "validate", tmp_path, "--json")
    reports = {Path(item["file"]).stem: item for item in done.envelope["data"]}
    assert done.code == 1 and "Traceback" not in done.err
    found = {name: [item["code"] for item in report["problems"]] for name, report in reports.items()}
    assert found == {**{name: [code] for name, code in codes.items()}, "good": []}
    assert [name for name, report in reports.items() if report["valid"]] == ["good"]


def test_a_report_has_exactly_the_documented_fields(tmp_path: Path) -> None:
    write(tmp_path / "a good.json", graphs.picture(0))
    unknown = {"1": {"class_type": "SaveImag", "inputs": {}}}
    (tmp_path / "wrapped.json").write_text(json.dumps({"prompt": unknown}))
    done = comfyops("workflow", "validate", "a good.json", "wrapped.json", "--json", folder=tmp_path)
    good, bad = done.envelope["data"]
    assert good == {"file": "a good.json", "valid": True, "safe": True, "problems": []}
    assert list(bad) == ["file", "valid", "safe", "problems"] and bad["valid"] is False
    (problem,) = [item for item in bad["problems"] if item["code"] == "unknown_class"]
    assert list(problem) == ["node", "input", "code", "severity", "message", "suggestions"]
    assert (problem["node"], problem["severity"]) == ("1", "error")
    assert problem["suggestions"][0] == "SaveImage" and "'SaveImage'" in problem["message"]
    assert (done.code, done.envelope["ok"], done.envelope["error"]) == (1, False, None)


def test_people_read_one_verdict_for_each_file(tmp_path: Path) -> None:
    write(tmp_path / "good.json", graphs.picture(0))
    write(tmp_path / "bad.json", graphs.bad())
    poison = {**json.loads((tmp_path / "good.json").read_text()), "9": {"class_type": "EmptyImage"}}
    (tmp_path / "poison.json").write_text(json.dumps(poison))
    done = comfyops("workflow", "validate", ".", folder=tmp_path)
    verdicts = [line for line in done.out.splitlines() if not line.startswith("  ")]
    assert verdicts == ["bad.json: invalid", "good.json: valid", "poison.json: valid, dangerous"]
    assert done.err == "3 files checked, 2 with errors or dangers\n"


def test_what_is_no_file_is_told_and_an_empty_folder_is_not_called_good(tmp_path: Path) -> None:
    comfyops("workflow", "validate", tmp_path / "none.json").failed_with("file_missing", "none.json")
    comfyops("workflow", "validate", tmp_path).failed_with("file_missing", "holds no workflow")
    comfyops("workflow", "show", tmp_path).failed_with("file_missing", "it is a folder")


def test_ui_format_is_converted_for_the_server_it_runs_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ui.json").write_text(json.dumps(UI_FORMAT))
    done = comfyops("run", "ui.json", "--server", server.url, folder=tmp_path)
    done.failed_with("workflow_invalid", "no output node")


def test_pictures_without_a_workflow_are_told_apart(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    comfyops("run", "plain.png", folder=tmp_path).failed_with("no_workflow", "without an embedded workflow")
    comfyops("run", "cut.png", folder=tmp_path).failed_with("no_workflow", "cut short")


def test_a_recorded_server_is_what_workflows_are_checked_against(server: Server, folder: Path) -> None:
    facts = folder / "facts" / "server.json"
    made = comfyops("nodes", "snapshot", "--server", server.url, "-o", facts, "--json")
    assert made.data["classes"] > 800 and made.data["comfyui_version"] == "0.33.0"
    recorded = json.loads(facts.read_text())
    del recorded["nodes"]["EmptyImage"]
    facts.write_text(json.dumps(recorded))
    done = comfyops("workflow", "validate", "picture.json", "--nodes", facts, folder=folder)
    assert done.code == 1 and "the server has no class 'EmptyImage'" in done.out
    live = comfyops("workflow", "validate", "picture.json", "--server", server.url, folder=folder)
    assert (live.code, live.out) == (0, "picture.json: valid\n")


def test_node_classes_are_listed_and_shown(server: Server) -> None:
    listed = comfyops("nodes", "ls", "ksampler", "--json").data
    assert {"KSampler", "KSamplerAdvanced"} <= {item["name"] for item in listed} and len(listed) < 20
    older = comfyops("nodes", "ls", "--comfyui-version", "0.8.0")
    assert "of 568 classes" in older.err and "KSampler  " in older.out
    shown = comfyops("nodes", "show", "KSampler", "--server", server.url, "--json").data
    assert shown["name"] == "KSampler" and "seed" in shown["input"]["required"]
    assert "seed: INT  default 0" in comfyops("nodes", "show", "KSampler").out
    comfyops("nodes", "show", "KSamplr").failed_with("unknown_class", "Nearest: KSampler", "nodes ls")


def test_facts_that_are_none_are_told(folder: Path) -> None:
    (folder / "list.json").write_text("[]")
    (folder / "odd.json").write_text('{"Odd": {"input": {"required": {"width": 5}}, "output": []}}')
    done = comfyops("workflow", "validate", "picture.json", "--nodes", "list.json", folder=folder)
    done.failed_with("node_facts", "list.json", "snapshot")
    done = comfyops("nodes", "show", "Odd", "--nodes", "odd.json", folder=folder)
    done.failed_with("node_facts", "'Odd'", "snapshot")
    done = comfyops("workflow", "validate", "picture.json", "--comfyui-version", "9.9", folder=folder)
    done.failed_with("node_facts", "9.9", "0.33.0")
