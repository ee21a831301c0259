"""`workflow diff | fix | prune | format | backup | restore | check` and `models installed`, as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Server, comfyops
from tests.acceptance.test_checking import bad_files

OFFICIAL = "flux_schnell"


def broken(folder: Path, name: str = "broken.json") -> Path:
    """A painted picture with three faults of one answer, a guess, an idle node, and a frame around it."""
    graph = json.loads((folder / "painted.json").read_text())
    sampler = graph["5"]["inputs"]
    sampler.update(sampler_name="EULER", steps=0, model=["99", 0], negative=["99", 0])
    graph["30"] = graph["3"]  # two texts that nobody takes: which one is meant can only be guessed
    graph["20"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    path = folder / name
    path.write_text(json.dumps({"prompt": graph, "client_id": "me"}))
    return path


def test_fix_shows_the_changes_first_and_writes_nothing(folder: Path) -> None:
    file = broken(folder)
    before = file.read_bytes()
    done = comfyops("workflow", "fix", file.name, folder=folder)
    assert done.code == 1 and "Traceback" not in done.err and "nothing is written" in done.err
    assert '5 (KSampler) sampler_name: "EULER" -> "euler"' in done.out and "--all" in done.out
    assert file.read_bytes() == before and not (folder / ".comfyops-backups").exists()


def test_fix_repairs_and_the_original_can_be_restored(server: Server, folder: Path) -> None:
    file = broken(folder)
    before = file.read_bytes()
    done = comfyops("workflow", "fix", file.name, "--all", "--write", "--json", folder=folder)
    assert done.data["valid"] and not done.data["valid_before"] and done.data["written"] == file.name
    assert {(item["input"], item["certain"]) for item in done.data["changes"]} == {
        ("sampler_name", True),
        ("steps", True),
        ("model", True),
        ("negative", False),
    }
    assert json.loads(file.read_text())["client_id"] == "me"
    assert comfyops("run", file.name, "--server", server.url, "-o", "out", folder=folder).code == 0
    again = comfyops("workflow", "fix", file.name, "--all", "--write", "--json", folder=folder).data
    assert again["changes"] == [] and again["written"] is None
    (copy,) = comfyops("workflow", "restore", file.name, "--list", "--json", folder=folder).data
    assert Path(copy["path"]).read_bytes() == before and copy["id"] == done.data["backup"]
    restored = comfyops("workflow", "restore", file.name, "--json", folder=folder).data
    assert file.read_bytes() == before and restored["kept"]["sha256"] != copy["sha256"]


def test_the_result_can_go_elsewhere_and_what_lies_there_is_kept_too(folder: Path) -> None:
    file, target = broken(folder), folder / "painted.json"
    before, old = file.read_bytes(), target.read_bytes()
    done = comfyops("workflow", "fix", file.name, "-o", target.name, "--json", folder=folder).envelope["data"]
    assert file.read_bytes() == before and json.loads(target.read_text())["prompt"]["5"]["inputs"]["steps"] == 1
    copies = comfyops("workflow", "restore", target.name, "--list", "--json", folder=folder).data
    assert [Path(item["path"]).read_bytes() for item in copies] == [old] and done["backup"] == copies[0]["id"]


def test_a_workflow_in_ui_format_is_repaired_into_another_file_only(folder: Path) -> None:
    comfyops("templates", "get", OFFICIAL, "-o", "mine.json", folder=folder)
    before = (folder / "mine.json").read_bytes()
    comfyops("workflow", "fix", "mine.json", "--write", folder=folder).failed_with("usage", "API format", exit_code=2)
    assert (folder / "mine.json").read_bytes() == before
    done = comfyops("workflow", "fix", "mine.json", "-o", "api.json", "--json", folder=folder)
    assert done.data["valid"] and comfyops("workflow", "validate", "api.json", folder=folder).code == 0
    formatted = comfyops("workflow", "format", "mine.json", "--write", "--json", folder=folder)
    assert formatted.data["workflow"] == json.loads(before) == json.loads((folder / "mine.json").read_text())


def test_diff_tells_what_changed_and_ids_do_not_count(folder: Path) -> None:
    comfyops("workflow", "format", "painted.json", "--renumber", "-o", "other.json", folder=folder)
    same = comfyops("workflow", "diff", "painted.json", "other.json", "--json", "--exit-code", folder=folder)
    assert same.data["same"] is True and same.data["differences"] == []
    data = json.loads((folder / "other.json").read_text())
    next(node for node in data.values() if node["class_type"] == "KSampler")["inputs"]["steps"] = 9
    (folder / "other.json").write_text(json.dumps(data))
    (item,) = comfyops("workflow", "diff", "painted.json", "other.json", "--json", folder=folder).data["differences"]
    assert (item["what"], item["input"], item["before"], item["after"]) == ("input changed", "steps", 2, 9)
    assert comfyops("workflow", "diff", "painted.json", "other.json", "--exit-code", folder=folder).code == 1


def test_prune_leaves_out_what_no_output_needs(folder: Path) -> None:
    file = broken(folder)
    shown = comfyops("workflow", "prune", file.name, "--json", folder=folder).data
    assert [item["node"] for item in shown["removed"]] == ["3", "30", "20"]  # the negative text is linked no more
    comfyops("workflow", "prune", file.name, "--write", folder=folder)
    assert "20" not in json.loads(file.read_text())["prompt"]
    assert comfyops("workflow", "prune", file.name, "--json", folder=folder).data["removed"] == []


def test_a_backup_is_made_once_for_one_content(folder: Path) -> None:
    first = comfyops("workflow", "backup", "painted.json", "picture.json", "--json", folder=folder).data
    again = comfyops("workflow", "backup", "painted.json", "--json", folder=folder).data
    assert [item["file"] for item in first] == ["painted.json", "picture.json"] and again == first[:1]
    comfyops("workflow", "backup", "none.json", folder=folder).failed_with("file_missing", "none.json")
    comfyops("workflow", "restore", "load.json", folder=folder).failed_with("file_missing", "no backup")


def test_bad_files_are_refused_and_stay_as_they_are(folder: Path) -> None:
    codes = bad_files(folder)
    for name in ("half", "list", "deep", "deep-input", "junk"):
        file = folder / f"{name}.json"
        before = file.read_bytes()
        for command in ("fix", "prune", "format"):
            comfyops("workflow", command, file.name, "--write", folder=folder).failed_with(codes[name])
        comfyops("workflow", "diff", file.name, "painted.json", folder=folder).failed_with(codes[name])
        assert file.read_bytes() == before
    assert not (folder / ".comfyops-backups").exists()


def test_check_says_what_a_server_lacks_in_one_answer(server: Server, folder: Path) -> None:
    good = comfyops("workflow", "check", "painted.json", "--server", server.url, "--json", folder=folder).data
    assert good["ready"] and good["vram"]["fit"] != "unknown"
    assert [(item["name"], item["installed"]) for item in good["models"]] == [("sd_xl_base_1.0.safetensors", True)]
    data = json.loads((folder / "painted.json").read_text())
    data["1"]["inputs"]["ckpt_name"] = "mine.safetensors"
    data["5"]["inputs"]["steps"] = 0
    data["30"] = {"class_type": "VHS_VideoCombine", "inputs": {"images": ["6", 0]}}
    (folder / "bad.json").write_text(json.dumps(data))
    done = comfyops("workflow", "check", "bad.json", "--server", server.url, "--json", folder=folder)
    found = done.envelope["data"]
    assert done.code == 1 and found["ready"] is False
    assert [item["brought_by"] for item in found["missing_nodes"]] == ["ComfyUI-VideoHelperSuite"]
    assert [item["name"] for item in found["models"] if item["installed"] is False] == ["mine.safetensors"]
    assert [(item["node"], item["input"]) for item in found["problems"]] == [("5", "steps")]
    assert found["vram"]["fit"] == "unknown" and found["vram"]["unknown"] == ["mine.safetensors"]
    lines = comfyops("workflow", "check", "bad.json", "--server", server.url, folder=folder).out
    assert all(words in lines for words in ("VHS_VideoCombine", "checkpoints/mine.safetensors", "5.steps", "VRAM"))


def test_templates_are_checked_by_name_with_the_sources_of_their_models(server: Server, folder: Path) -> None:
    found = comfyops("workflow", "check", OFFICIAL, "--server", server.url, "--json", folder=folder).envelope["data"]
    assert found["models"] and all(item["url"].startswith("https://") for item in found["models"])
    comfyops("workflow", "check", "flux_scnell", "--server", server.url, folder=folder).failed_with("unknown_template")


def test_check_without_a_server_says_so(folder: Path) -> None:
    done = comfyops("workflow", "check", "painted.json", "--server", "http://127.0.0.1:9", folder=folder)
    done.failed_with("backend_unreachable")


def test_models_of_a_server_and_of_a_folder_are_listed(server: Server, folder: Path) -> None:
    listed: dict[str, Any] = comfyops("models", "installed", "--server", server.url, "--json", folder=folder).data
    assert {"checkpoints", "loras", "vae"} <= {item["folder"] for item in listed["files"]}
    home = folder / "ComfyUI"
    for path, size in (("models/clip/a/t5.safetensors", 3), ("models/loras/b.safetensors", 4)):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_bytes(b"x" * size)
    (folder / "shared").mkdir()
    (folder / "shared" / "c.ckpt").write_bytes(b"x" * 5)
    (home / "extra_model_paths.yaml").write_text("x:\n  base_path: ..\n  checkpoints: shared\n")
    data = comfyops("models", "installed", "--comfyui-path", "ComfyUI", "--json", folder=folder).data
    assert [(item["folder"], item["name"], item["size"]) for item in data["files"]] == [
        ("checkpoints", "c.ckpt", 5),
        ("loras", "b.safetensors", 4),
        ("text_encoders", "a/t5.safetensors", 3),
    ]
    only = comfyops("models", "installed", "--comfyui-path", "ComfyUI", "--folder", "clip", folder=folder)
    assert only.out.split() == ["3", "B", "text_encoders/a/t5.safetensors"] and data["total_bytes"] == 12
    bare = comfyops("models", "installed", "--models-dir", home / "models", "--json", folder=folder).data
    assert {item["name"] for item in bare["files"]} == {"b.safetensors", "a/t5.safetensors"}


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_folder_that_is_no_installation_is_refused(folder: Path, path: str) -> None:
    comfyops("models", "installed", "--comfyui-path", path, folder=folder).failed_with("file_missing")


def test_one_source_of_a_list_is_taken(folder: Path) -> None:
    comfyops("models", "installed", "--models-dir", "nowhere", folder=folder).failed_with("file_missing")
    both = comfyops("models", "installed", "--models-dir", ".", "--server", "http://127.0.0.1:9", folder=folder)
    both.failed_with("usage", "--models-dir", exit_code=2)
