"""`comfyops models` as a process: a simulated hub in the place of Hugging Face and Civitai."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.testing.model_hub import Faults, ModelHub
from tests.acceptance import processes
from tests.acceptance.processes import COMMAND, SECONDS, Done, environment, wait_until
from tests.unit.doc_pages import ROOT
from tests.unit.models.shelf import sha, weights

A, B = weights(200_000), weights(300_000, seed=1)
FILES = {"org/repo/a.safetensors": A, "org/repo/b.safetensors": B}
CATALOG = f"""
groups:
  small: {{title: Two small ones}}
models:
  - file: a.safetensors
    folder: loras
    url: https://huggingface.co/org/repo/resolve/main/a.safetensors
    size: {len(A)}
    sha256: {sha(A)}
    required_in: [small]
  - file: b.safetensors
    folder: clip
    url: https://huggingface.co/org/repo/resolve/main/b.safetensors
    optional_in: [small]
"""


class Desk:
    """A folder with a catalog, and a hub."""

    def __init__(self, folder: Path, hub: ModelHub) -> None:
        self.folder, self.hub, self.models = folder, hub, folder / "models"
        (folder / "catalog.yaml").write_text(CATALOG)
        self.variables = {
            "COMFYOPS_HOME": str(folder / "home"),
            "COMFYOPS_MODEL_HOSTS": f"{hub.endpoint},{hub.store}",
            "HF_ENDPOINT": hub.endpoint,
            "COMFYOPS_CIVITAI_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "hf"),
        }

    def run(self, *words: str, **variables: str) -> Done:
        """`comfyops models ...` on this desk."""
        return processes.comfyops("models", *words, folder=self.folder, variables={**self.variables, **variables})

    def begun(self, *words: str) -> subprocess.Popen[str]:
        """`comfyops models ...`, which runs on."""
        return subprocess.Popen(
            [COMMAND, "models", *words],
            cwd=self.folder,
            env=environment(**self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def small(self, command: str, *words: str, **variables: str) -> Done:
        """A command on the group of the catalog."""
        where = ("--catalog", "catalog.yaml", "--group", "small", "--models-dir", "models")
        return self.run(command, *where, *words, **variables)

    @property
    def files(self) -> list[str]:
        """What lies below the models folder, what is remembered left out."""
        found = (path.relative_to(self.models) for path in self.models.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if path.parts[0] != ".comfyops")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ModelHub(FILES) as hub:
        yield Desk(tmp_path, hub)


def test_check_plan_download_verify(desk: Desk) -> None:
    missing = desk.small("check")
    assert missing.code == 1 and "missing" in missing.out and "optional" in missing.out
    plan = desk.small("plan", "--json").data
    assert (plan["bytes"], [item["model"] for item in plan["fetch"]]) == (len(A), ["loras/a.safetensors"])
    assert desk.files == [] and not desk.hub.asked(), "nothing was fetched, and nobody had to be asked"
    fetched = desk.small("download", "--json")
    assert fetched.code == 0 and fetched.data["outcomes"][0]["sha256"] == sha(A), fetched
    assert desk.files == ["loras/a.safetensors"]
    everything = desk.small("download", "--include-optional")
    assert everything.code == 0 and desk.files == ["loras/a.safetensors", "text_encoders/b.safetensors"], everything
    asked = len(desk.hub.asked())
    assert desk.small("download", "--include-optional").code == 0 and len(desk.hub.asked()) == asked
    checked = desk.small("verify", "--include-optional", "--json").data
    assert {item["state"] for item in checked["models"]} == {"verified"}


def test_names_in_brackets_are_shown_as_they_are(desk: Desk) -> None:
    desk.hub.put("org/repo/x[red].safetensors", A)
    url = "https://huggingface.co/org/repo/resolve/main/x%5Bred%5D.safetensors"
    text = f'models:\n  - {{file: "x[red].safetensors", folder: vae, url: "{url}"}}\n'
    (desk.folder / "odd.yaml").write_text(text)
    done = desk.run("download", "x[red]", "--catalog", "odd.yaml", "--models-dir", "models")
    assert done.code == 0 and "vae/x[red].safetensors" in done.out and "completed: vae/x[red]" in done.err, done


def test_check_only_and_dry_run_fetch_nothing(desk: Desk) -> None:
    assert desk.small("download", "--check-only").code == 1
    shown = desk.small("download", "--dry-run", "--include-optional", "--json").data
    assert {item["size"] for item in shown["fetch"]} == {len(A), len(B)}
    assert desk.files == [] and not desk.hub.asked("store")
    by_hand = desk.small("download", "--dry-run", "--manual")  # shows, and waits for nothing
    assert by_hand.code == 1 and "save as" in by_hand.err and desk.files == []
    for option in ("--dry-run", "--check-only"):
        refused = desk.small("download", option, "--via-manager", "http://127.0.0.1:9")
        refused.failed_with("usage", "--via-manager", exit_code=2)


def test_a_damaged_file_is_found_and_fetched_anew(desk: Desk) -> None:
    desk.small("download")
    file = desk.models / "loras/a.safetensors"
    file.write_bytes(A[:-1] + b"!")
    assert desk.small("check").code == 1
    assert "corrupt" in desk.small("check", "--deep").out
    script = [
        str(ROOT / "scripts/validate_models.sh"),
        "--catalog",
        "catalog.yaml",
        "-g",
        "small",
        "--models-dir",
        "models",
    ]
    done = subprocess.run(
        script,
        cwd=desk.folder,
        env=environment(COMFYOPS=COMMAND, **desk.variables),
        capture_output=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1 and b"corrupt" in done.stdout
    lost = subprocess.run(
        script, cwd=desk.folder, env=environment(COMFYOPS="/gone"), capture_output=True, timeout=SECONDS
    )
    assert lost.returncode == 2 and b"no command '/gone'" in lost.stderr
    again = desk.small("download", "--force")
    assert again.code == 0 and file.read_bytes() == A, again


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder of Linux that takes no files, even of root")
def test_a_unc_path_that_takes_no_files_is_told_in_the_documented_words(desk: Desk) -> None:
    given = r"\\wsl.localhost\Ubuntu\proc\self"
    options = ("--catalog", "catalog.yaml", "-g", "small", "--models-dir", given)
    done = desk.run("download", *options, WSL_DISTRO_NAME="Ubuntu")
    done.failed_with("not_writable", f"UNC Path Access Denied: Cannot write to {given}.", "administrator", "--manual")


def test_a_comfyui_that_is_not_there_and_names_that_are_none(desk: Desk) -> None:
    desk.run("check", "--comfyui-path", "nowhere").failed_with("file_missing", "nowhere")
    desk.run("check").failed_with("file_missing", "No ComfyUI was found", "--comfyui-path")
    desk.run("check", "flux2-vea", "--models-dir", "m").failed_with("unknown_model", "'flux2-vae'")
    desk.run("check", "-g", "wan2.2", "--models-dir", "m").failed_with("unknown_model", "'wan2.2")
    desk.run("check", "--catalog", "none.yaml", "--models-dir", "m").failed_with("file_missing", "none.yaml")
    desk.run("check", "--lock", "none.json", "--models-dir", "m").failed_with("file_missing", "none.json")
    desk.run("check", "--models-dir", "m", "--comfyui-path", "x").failed_with("usage", "either", exit_code=2)
    desk.run("download", "--limit-rate", "fast", "--models-dir", "m").failed_with("usage", "10M", exit_code=2)
    desk.run("check", "--models-dir", "m", COMFYOPS_MODEL_HOSTS="a b").failed_with("usage", "model_hosts", exit_code=2)
    assert not (desk.folder / "m").exists()


def test_a_real_comfyui_folder_is_used_with_its_extra_paths(desk: Desk) -> None:
    comfyui = desk.folder / "ComfyUI"
    (comfyui / "models").mkdir(parents=True)
    (comfyui / "main.py").touch()
    (comfyui / "extra_model_paths.yaml").write_text("big: {base_path: ../disk, is_default: true, loras: l}\n")
    words = ("--catalog", "catalog.yaml", "-g", "small", "--include-optional", "--comfyui-path", "ComfyUI")
    assert desk.run("download", *words).code == 0
    assert (desk.folder / "disk/l/a.safetensors").read_bytes() == A
    assert (comfyui / "models/text_encoders/b.safetensors").read_bytes() == B
    assert desk.run("check", *words).code == 0
    where = desk.run("where", "a.safetensors", "--catalog", "catalog.yaml", "--comfyui-path", "ComfyUI")
    assert where.out.strip().endswith("disk/l/a.safetensors")


def test_a_gated_model_is_fetched_with_the_token_which_goes_to_the_hub_alone(desk: Desk) -> None:
    desk.hub.faults = Faults(gated="GatedRepo", token="hf_secret")
    refused = desk.small("download", "--include-optional")
    assert refused.code == 1 and "https://huggingface.co/org/repo" in refused.out and "HF_TOKEN" in refused.out
    assert desk.files == []
    done = desk.small("download", "--include-optional", HF_API_TOKEN="hf_secret")
    assert done.code == 0 and len(desk.files) == 2, done
    assert not any(item.token for item in desk.hub.asked("store")), "the store is another host"
    assert "hf_secret" not in done.out + done.err


def test_the_token_of_the_hubs_own_tools_is_found(desk: Desk) -> None:
    desk.hub.faults = Faults(gated="GatedRepo", token="hf_saved")
    (desk.folder / "hf").mkdir()
    (desk.folder / "hf/token").write_text("hf_saved\n")
    assert desk.small("download").code == 0


def test_a_mirror_that_is_not_named_as_trusted_gets_no_token(desk: Desk) -> None:
    done = desk.small("download", HF_TOKEN="hf_secret", COMFYOPS_MODEL_HOSTS="")
    assert done.code == 1 and "untrusted_source" in done.out and desk.files == []
    assert not desk.hub.asked(), "plain http is not even asked"


def test_offline_asks_nobody(desk: Desk) -> None:
    done = desk.small("plan", "--include-optional", "--json", HF_HUB_OFFLINE="1").data
    assert [item["size"] for item in done["fetch"]] == [len(A), None] and not desk.hub.asked()


def test_a_lock_makes_the_same_elsewhere_and_tells_of_a_changed_upstream(desk: Desk) -> None:
    made = desk.small("lock", "--include-optional", "-o", "x.lock.json")
    assert made.code == 0, made
    pins = json.loads((desk.folder / "x.lock.json").read_text())["models"]
    assert pins["text_encoders/b.safetensors"]["sha256"] == sha(B)
    assert pins["text_encoders/b.safetensors"]["revision"] == desk.hub.commit
    assert desk.run("download", "--lock", "x.lock.json", "--models-dir", "elsewhere").code == 0
    assert (desk.folder / "elsewhere/text_encoders/b.safetensors").read_bytes() == B
    assert desk.run("verify", "--lock", "x.lock.json", "--models-dir", "elsewhere").code == 0
    desk.hub.put("org/repo/b.safetensors", A)
    changed = desk.small("lock", "--include-optional", "-o", "x.lock.json")
    assert changed.code == 1 and "upstream_changed" in changed.out
    assert json.loads((desk.folder / "x.lock.json").read_text())["models"] == pins
    assert desk.small("lock", "--include-optional", "--update", "-o", "x.lock.json").code == 0
    assert json.loads((desk.folder / "x.lock.json").read_text())["models"]["text_encoders/b.safetensors"][
        "sha256"
    ] == sha(A)


def test_own_models_are_added_fetched_and_removed(desk: Desk) -> None:
    number = desk.hub.files["org/repo/b.safetensors"].civitai_id
    added = desk.run("add", f"https://civitai.com/api/download/models/{number}", "--folder", "loras", "--json").data
    assert (added["file"], added["sha256"], added["size"]) == ("b.safetensors", sha(B), len(B))
    done = desk.run("download", "loras/b.safetensors", "--models-dir", "models")
    assert done.code == 0 and (desk.models / "loras/b.safetensors").read_bytes() == B, done
    assert desk.run("remove", "loras/b.safetensors").code == 0
    desk.run("download", "loras/b.safetensors", "--models-dir", "models").failed_with("unknown_model", "loras/b")
    desk.run("add", "https://evil.example/x.safetensors", "--folder", "loras").failed_with("untrusted_source", "evil")
    desk.run("add", "https://huggingface.co/o/r/resolve/main/a.safetensors", "--folder", "../x").failed_with(
        "unsafe_name"
    )


def test_files_and_lists_are_imported(desk: Desk) -> None:
    (desk.folder / "mine.safetensors").write_bytes(A)
    (desk.folder / "odd.safetensors").write_bytes(weights(5, seed=9))
    words = ("--catalog", "catalog.yaml", "--models-dir", "models")
    assert desk.run("import", "mine.safetensors", *words).code == 0
    assert (desk.models / "loras/a.safetensors").samefile(desk.folder / "mine.safetensors")
    unknown = desk.run("import", "odd.safetensors", *words)
    assert unknown.code == 1 and "not known" in unknown.out
    (desk.folder / "models_links.txt").write_text("vae: https://huggingface.co/org/repo/blob/main/a.safetensors\n")
    assert desk.run("import", "models_links.txt").code == 0
    assert desk.run("download", "vae/a", "--models-dir", "models").code == 0
    assert (desk.models / "vae/a.safetensors").read_bytes() == A


def test_one_bad_file_of_a_folder_stops_no_other(desk: Desk) -> None:
    words = ("--catalog", "catalog.yaml", "--models-dir", "models", "--json")
    (desk.folder / "mine").mkdir()
    (desk.folder / "mine/a.safetensors").write_bytes(A)
    (desk.folder / "mine/0.safetensors").symlink_to("nowhere")
    (desk.folder / "mine/b.safetensors").write_bytes(B[:1000])
    shown = desk.run("import", "mine", "--dry-run", *words)
    assert shown.envelope["data"]["dry_run"] and desk.files == [], shown
    done = desk.run("import", "mine", *words)
    assert done.code == 1 and [item["code"] for item in done.envelope["data"]["refused"]] == ["integrity"], done
    assert desk.files == ["loras/a.safetensors"]
    plain = words[:-1]
    desk.run("import", "mine", "--as", "a", *plain).failed_with("usage", "--as", exit_code=2)
    desk.run("import", "mine/b.safetensors", *plain).failed_with("integrity", "1000")
    assert desk.files == ["loras/a.safetensors"]


def test_an_address_that_no_catalog_has_is_fetched(desk: Desk) -> None:
    url = "https://huggingface.co/org/repo/blob/main/a.safetensors"
    where = ("--models-dir", "models")
    desk.run("download", url, *where).failed_with("unknown_model", "--url")
    desk.run("download", "--url", url, *where).failed_with("usage", "--folder", exit_code=2)
    desk.run("download", "--folder", "loras", *where).failed_with("usage", "--url", exit_code=2)
    desk.run("download", "--url", url, "--folder", "vae/../..", *where).failed_with("unsafe_name")
    other = ("--folder", "vae", "--filename", "ae.safetensors")  # which the catalog knows as another file
    desk.run("download", "--url", url, *other, *where).failed_with("usage", "another file", exit_code=2)
    desk.run("download", "--url", "", "--folder", "vae", *where).failed_with("usage", "empty", exit_code=2)
    manager = ("--via-manager", "http://127.0.0.1:9")
    desk.run("download", "--url", url, "--folder", "vae", *manager).failed_with("usage", "models add", exit_code=2)
    offline = desk.run("download", "--url", url, "--folder", "vae", *where, "--dry-run", HF_HUB_OFFLINE="1")
    assert offline.code == 0 and "vae/a.safetensors" in offline.out, "its address names the file"
    assert desk.files == [] and not desk.hub.asked("store")
    as_there = ("--relative-path", "models/Loras/mine", "--filename", "b.safetensors")
    done = desk.run("download", "--url", url, *as_there, *where, "--json")
    assert done.code == 0 and done.data["outcomes"][0]["sha256"] == sha(A), done
    assert desk.files == ["loras/mine/b.safetensors"]


def test_the_page_of_a_version_at_civitai_is_an_address_too(desk: Desk) -> None:
    number = desk.hub.files["org/repo/a.safetensors"].civitai_id
    page = "https://civitai.com/models/1234/a-name"
    desk.run("add", page, "--folder", "loras").failed_with("download", "modelVersionId")
    assert desk.run("add", f"{page}?modelVersionId={number}", "--folder", "loras").code == 0
    assert desk.run("download", "loras/a.safetensors", "--models-dir", "models").code == 0
    assert (desk.models / "loras/a.safetensors").read_bytes() == A


def test_what_would_be_done_is_shown_wherever_something_is_done(desk: Desk) -> None:
    url = "https://huggingface.co/org/repo/resolve/main/a.safetensors"
    home = desk.folder / "home" / "models.yaml"
    assert desk.run("add", url, "--folder", "loras", "--dry-run").code == 0 and not home.exists()
    assert desk.run("add", url, "--folder", "loras").code == 0
    shown = desk.run("remove", "loras/a.safetensors", "--dry-run")
    assert "loras/a" in shown.out and "a.safetensors" in home.read_text()
    desk.run("add", url, "--folder", "vae", "--size", "5").failed_with("upstream_changed")
    assert desk.small("lock", "--dry-run", "-o", "x.json").code == 0 and not (desk.folder / "x.json").exists()
    assert desk.small("plan", "--dry-run").code == 0 and desk.files == []
    where = ("--models-dir", "models")
    desk.models.mkdir()
    for command, does in (("prune", "--yes"), ("dedupe", "--apply")):
        assert desk.run(command, "--dry-run", *where).code == 0
        desk.run(command, "--dry-run", does, *where).failed_with("usage", does, exit_code=2)


def test_the_list_is_narrowed_and_says_what_is_there(desk: Desk) -> None:
    desk.small("download")
    listed = desk.small("ls", "--json").data
    assert [(item["id"], item["there"]) for item in listed] == [
        ("loras/a.safetensors", True),
        ("text_encoders/b.safetensors", False),
    ]
    found = desk.run("ls", "--catalog", "catalog.yaml", "-g", "small", "--folder", "Clip", "--json").data
    assert [item["id"] for item in found] == ["text_encoders/b.safetensors"] and "there" not in found[0]
    found = desk.run("search", "safetensors", "--catalog", "catalog.yaml", "-g", "small", "--json").data
    assert len(found) == 2


def test_where_takes_many_and_says_whether_all_are_there(desk: Desk) -> None:
    desk.small("download")
    assert desk.small("where").code == 0, "the optional one may be away"
    both = desk.small("where", "--include-optional", "--json")
    assert both.code == 1 and [item["there"] for item in both.envelope["data"]] == [True, False]
    named = ("--catalog", "catalog.yaml", "--models-dir", "models")
    assert desk.run("where", "loras/a.safetensors", *named).code == 0
    assert desk.run("where", "loras/a.safetensors", "-m", "clip/b.safetensors", *named).code == 1
    desk.run("where", *named).failed_with("usage", "No model is named", exit_code=2)


def test_a_lock_of_a_model_without_an_address_is_read_again(desk: Desk) -> None:
    (desk.folder / "own.yaml").write_text("models:\n  - {file: own.safetensors, folder: loras}\n")
    (desk.models / "loras").mkdir(parents=True)
    (desk.models / "loras/own.safetensors").write_bytes(A)
    named = ("--catalog", "own.yaml", "--models-dir", "models")
    assert desk.run("lock", "own", "-o", "x.json", *named).code == 0
    for words in (("own", *named), ("--models-dir", "models")):
        checked = desk.run("check", *words, "--lock", "x.json", "--json")
        assert checked.code == 0 and [item["state"] for item in checked.data["models"]] == ["verified"], checked
    assert desk.run("download", "--lock", "x.json", "--models-dir", "other").code == 1


def test_by_hand_shows_what_to_do_and_sees_the_file_come(desk: Desk) -> None:
    shown = desk.small("download", "--manual", "--wait", "0")
    assert shown.code == 1 and "save as" in shown.err and "https://huggingface.co/org/repo" in shown.err
    words = ("--catalog", "catalog.yaml", "-g", "small", "--models-dir", "models", "--manual")
    process = desk.begun("download", *words)
    assert process.stderr is not None
    while "save as" not in process.stderr.readline():
        assert process.poll() is None
    (desk.models / "loras").mkdir(parents=True)
    (desk.models / "loras/a.safetensors").write_bytes(A)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and "verified" in out and not desk.hub.asked(), err


def test_figures_are_written_and_leftovers_are_pruned(desk: Desk) -> None:
    assert desk.small("health", "--prometheus", "x.prom").code == 1
    assert (
        'comfyops_model_problem{model="loras/a.safetensors",state="missing"} 1' in (desk.folder / "x.prom").read_text()
    )
    part = desk.models / "loras" / ".a.safetensors.0123abcd.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"1234")
    os.utime(part, (0, 0))
    assert desk.run("prune", "--models-dir", "models").code == 0 and part.exists()
    assert desk.run("prune", "--models-dir", "models", "--yes", "--json").data["bytes"] == 4 and not part.exists()


def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(desk: Desk) -> None:
    big = weights(4_000_000, seed=3)
    desk.hub.put("org/repo/big.safetensors", big)
    url = "https://huggingface.co/org/repo/resolve/main/big.safetensors"
    (desk.folder / "big.yaml").write_text(f"models:\n  - {{file: big.safetensors, folder: vae, url: {url}}}\n")
    words = ("download", "big", "--catalog", "big.yaml", "--models-dir", "models", "--max-workers", "1")
    desk.hub.faults = Faults(throttle=1_000_000.0)
    process = desk.begun(*words)
    wait_until(lambda: any('"written": [[' in path.read_text() for path in desk.models.rglob("*.part.json")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert not [name for name in desk.files if name.endswith("/big.safetensors")]
    desk.hub.faults = Faults()
    (outcome,) = desk.run(*words, "--json").data["outcomes"]
    assert outcome["ok"] and (desk.models / "vae/big.safetensors").read_bytes() == big
    assert outcome["downloaded_bytes"] < len(big), "what came before was not fetched twice"


def test_storycores_downloader_checks_without_fetching(desk: Desk) -> None:
    comfyui = desk.folder / "ComfyUI"
    (comfyui / "models").mkdir(parents=True)
    (comfyui / "main.py").touch()
    command = [
        sys.executable,
        "-m",
        "comfyops.storycore.auto_model_downloader",
        "--check-only",
        "--comfyui-path",
        "ComfyUI",
    ]
    done = subprocess.run(
        command, cwd=desk.folder, env=environment(**desk.variables), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 1 and "missing   flux2-vae.safetensors" in done.stdout, done
    assert "optional  ltx-2-19b-dev.safetensors" in done.stdout and not desk.hub.asked()
    command[-1] = "nowhere"
    done = subprocess.run(command, cwd=desk.folder, env=environment(**desk.variables), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error (file_missing)")
