"""`comfyops workflow prepare` and `lock verify`: from a workflow to one that runs; with a simulated hub and server."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from comfyops.testing.model_hub import Faults, ModelHub
from comfyops.workflows.graph import GraphBuilder
from tests.acceptance.conftest import painted, write
from tests.acceptance.processes import Done, Server, comfyops, started, stopped, wait_until
from tests.fake_comfyui import free_port, installation
from tests.pack_repository import repository
from tests.unit.models.shelf import HF, sha, weights

DATA = weights(100_000)
NAME = "sd_xl_base_1.0.safetensors"
MODEL = f"checkpoints/{NAME}"


@pytest.fixture(scope="module")
def hub() -> Iterator[ModelHub]:
    with ModelHub({f"org/repo/{NAME}": DATA}) as hub:
        yield hub


class Bench:
    """A folder with a ComfyUI, a workflow and a catalog that knows its model; and the command in it."""

    def __init__(self, folder: Path, hub: ModelHub) -> None:
        self.folder, self.hub = folder, hub
        self.variables: dict[str, str] = {}
        self.comfyui = installation(folder / "ComfyUI", simulated=True)
        self.placed = self.comfyui / "models" / MODEL
        write(folder / "painted.json", painted())
        self.catalog(size=len(DATA), sha256=sha(DATA))

    def catalog(self, **facts: Any) -> None:
        model = {"folder": "checkpoints", "file": NAME, "url": f"{HF}/org/repo/resolve/main/{NAME}", **facts}
        (self.folder / "catalog.yaml").write_text(yaml.safe_dump({"models": [model]}))

    @property
    def all_variables(self) -> dict[str, str]:
        return {
            "COMFYOPS_HOME": str(self.folder / "home"),
            "HF_ENDPOINT": self.hub.endpoint,
            "COMFYOPS_MODEL_HOSTS": f"{self.hub.endpoint},{self.hub.store}",
            **self.variables,
        }

    def __call__(self, *arguments: str | Path) -> Done:
        return comfyops(*arguments, folder=self.folder, variables=self.all_variables)

    def prepare(self, *options: str | Path, workflow: str = "painted.json") -> Done:
        return self("workflow", "prepare", workflow, "--comfyui-path", "ComfyUI", "--catalog", "catalog.yaml", *options)


@pytest.fixture
def bench(tmp_path: Path, hub: ModelHub) -> Bench:
    return Bench(tmp_path, hub)


def test_the_plan_is_shown_and_nothing_is_done_without_a_yes(bench: Bench) -> None:
    done = bench.prepare("--dry-run", "--json")
    data = done.data
    (fetch,) = data["fetch"]
    assert (fetch["model"], fetch["size"], fetch["sha256"]) == (MODEL, len(DATA), sha(DATA))
    assert fetch["target"] == str(bench.placed) and data["can_run"] and not data["applied"]
    assert data["disks"][0]["needed"] == len(DATA) < data["disks"][0]["free"]
    asked = bench.prepare()
    assert asked.code == 1 and "nothing was fetched: --yes fetches 1 file" in asked.err
    assert all(word in asked.err for word in ("to fetch", MODEL, "hash known", "disk", "VRAM")), asked.err
    assert not bench.placed.exists()


def test_the_memory_is_that_which_comfyuis_python_sees(bench: Bench) -> None:
    assert bench.prepare("--dry-run", "--json").data["vram"]["device"] is None
    torch = bench.comfyui / "torch.py"
    torch.write_text(torch.read_text().replace("cuda = _Part(False", "cuda = _Part(True"))
    vram = bench.prepare("--dry-run", "--json").data["vram"]
    assert vram["device"] == {"name": "Test GPU", "vram_total": 8_000_000, "vram_free": 6_000_000}
    assert (vram["fit"], vram["known_bytes"]) == ("fits", len(DATA))
    bench.catalog(size=20_000_000, sha256=sha(DATA))
    assert bench.prepare("--dry-run", "--json").data["vram"]["fit"] == "larger than VRAM"
    bench.catalog(size=2**60, sha256=sha(DATA))
    bench.prepare("--yes").failed_with("disk_full", "No space left on device")


def test_a_workflow_is_made_runnable_tried_and_locked(bench: Bench, server: Server) -> None:
    done = bench.prepare("--yes", "--server", server.url, "--lock", "comfyops.lock", "--json")
    data = done.data
    assert [item["how"] for item in data["outcomes"]] == ["fetched"] and bench.placed.read_bytes() == DATA
    (smoke,) = data["smoke"]
    assert smoke["ok"] and smoke["outputs"] == 1, smoke
    lock = json.loads((bench.folder / "comfyops.lock").read_text())
    pin = lock["models"][MODEL]
    assert (pin["size"], pin["sha256"], pin["revision"]) == (len(DATA), sha(DATA), bench.hub.commit)
    assert lock["comfyui"]["version"] == "0.33.0" and lock["workflow"]["name"] == "painted.json"
    again = bench.prepare("--server", server.url, "--json")
    assert again.data["outcomes"] == [] and again.data["smoke"][0]["ok"]


def test_comfyui_is_started_for_the_smoke_run_and_stopped(bench: Bench) -> None:
    port = free_port()
    done = bench.prepare("--yes", "--launch", "--port", str(port), "--json")
    assert done.data["smoke"][0]["ok"], done
    assert "smoke" not in done.err and not done.err.count("Traceback")
    reachable = comfyops("nodes", "ls", "--server", f"http://127.0.0.1:{port}")
    reachable.failed_with("backend_unreachable")


def test_a_port_in_use_is_said_before_anything_is_fetched(bench: Bench, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    done = bench.prepare("--yes", "--launch", "--port", port)
    assert done.code == 1 and f"error (port_in_use): Port {port} is in use by a ComfyUI" in done.err, done
    assert not bench.placed.exists()


def test_without_a_server_it_is_said_that_nothing_was_tried(bench: Bench) -> None:
    done = bench.prepare("--yes")
    assert done.code == 0 and "it was not tried" in done.err and bench.placed.is_file()


def test_what_is_unknown_is_asked_of_the_source(bench: Bench) -> None:
    bench.catalog()
    (fetch,) = bench.prepare("--dry-run", "--json").data["fetch"]
    assert fetch["sha256"] is not None


def test_a_model_that_nobody_knows_is_named(bench: Bench) -> None:
    build = GraphBuilder()
    build.add("CheckpointLoaderSimple", ckpt_name="my/very-own.safetensors")
    write(bench.folder / "own.json", build.build())
    done = bench.prepare("--yes", workflow="own.json")
    assert done.code == 1
    assert "No address is known for checkpoints/my/very-own.safetensors." in done.err


@pytest.mark.parametrize("name", ["../../../main.py", r"..\..\secret.safetensors", "/etc/hosts", r"C:\a.safetensors"])
def test_a_name_that_leaves_the_models_folder_is_refused(bench: Bench, name: str) -> None:
    build = GraphBuilder()
    build.add("CheckpointLoaderSimple", ckpt_name=name)
    write(bench.folder / "hostile.json", build.build())
    done = bench.prepare("--yes", "--json", workflow="hostile.json")
    (blocked,) = done.envelope["data"]["blocked"]
    assert done.code == 1 and blocked["code"] == "unsafe_name" and done.envelope["data"]["models"] == []


def test_a_model_that_only_a_server_lacks_is_named(bench: Bench, server: Server) -> None:
    build = GraphBuilder()
    build.add("CheckpointLoaderSimple", ckpt_name="gone.safetensors")
    write(bench.folder / "own.json", build.build())
    done = bench("workflow", "prepare", "own.json", "--server", server.url)
    assert done.code == 1 and "--comfyui-path DIR" in done.err and "gone.safetensors" in done.err


def faces(bench: Bench, class_type: str = "FaceDetailer") -> str:
    """A workflow with a node of a pack."""
    text = json.loads((bench.folder / "painted.json").read_text())
    text["90"] = {"class_type": class_type, "inputs": {"image": ["6", 0]}}
    (bench.folder / "faces.json").write_text(json.dumps(text))
    return "faces.json"


def test_a_picture_that_a_server_lacks_does_not_hold_the_smoke_run_up(bench: Bench, server: Server) -> None:
    build = GraphBuilder()
    build.add("SaveImage", images=build.add("LoadImage", image="nobody has this.png")[0], filename_prefix="a")
    write(bench.folder / "picture.json", build.build())
    done = bench("workflow", "prepare", "picture.json", "--server", server.url, "--yes", "--json")
    (problem,), (smoke,) = done.data["problems"], done.data["smoke"]
    assert (problem["code"], problem["severity"], problem["input"]) == ("picture_missing", "warning", "image")
    assert smoke["ok"] and smoke["stand_ins"] == ["nobody has this.png"]


def test_a_missing_node_is_named_with_what_brings_it(bench: Bench) -> None:
    bench.variables = {"COMFYOPS_OFFLINE": "1"}
    done = bench.prepare("--dry-run", workflow=faces(bench))
    assert "no repository is asked while offline" in done.err
    assert done.code == 1 and "node FaceDetailer" in done.err and "brought by ComfyUI-Impact-Pack" in done.err
    (bench.comfyui / "custom_nodes" / "comfyui-impact-pack").mkdir(parents=True)
    done = bench.prepare("--dry-run", workflow="faces.json")
    assert "assumed" in done.err and "missing   " not in done.err


def test_a_missing_pack_is_installed_locked_and_had_again_at_its_commit(bench: Bench) -> None:
    hub = repository(bench.folder / "hub" / "ComfyUI-Impact-Pack", marker__txt="first")
    bench.variables = has_github(bench.folder)
    options = ("--lock", "comfyops.lock", "--yes", "--json")
    asked = bench.prepare("--lock", "comfyops.lock", workflow=faces(bench))
    assert asked.code == 1 and hub.commits[0] in asked.err and "installs 1 pack" in asked.err
    done = bench.prepare(*options, workflow="faces.json")
    assert done.data["ready"] and done.data["installed_packs"][0]["commit"] == hub.commits[0], done
    pack = json.loads((bench.folder / "comfyops.lock").read_text())["nodes"]["ComfyUI-Impact-Pack"]
    assert (pack["commit"], pack["classes"]) == (hub.commits[0], ["FaceDetailer"])
    assert pack["url"] == "https://github.com/ltdrdata/ComfyUI-Impact-Pack"
    verify = ("lock", "verify", "comfyops.lock", "--comfyui-path", "ComfyUI")
    assert "ok   nodes    ComfyUI-Impact-Pack" in bench(*verify).out
    newer = hub.commit(marker__txt="second")
    assert bench("nodes", "install", f"{hub.url}@{newer}", "--comfyui-path", "ComfyUI", "--yes").code == 0
    changed = bench(*verify)
    assert "bad  nodes    ComfyUI-Impact-Pack" in changed.out and newer[:12] in changed.out
    again = bench.prepare(*options, workflow="faces.json")
    assert again.data["installed_packs"][0]["commit"] == hub.commits[0], again
    assert bench("nodes", "remove", "comfyui-impact-pack", "--comfyui-path", "ComfyUI", "--yes").code == 0
    anew = bench.prepare(*options, workflow="faces.json")
    assert anew.data["installed_packs"][0]["commit"] == hub.commits[0], anew
    assert (bench.comfyui / "custom_nodes" / "ComfyUI-Impact-Pack" / "marker.txt").read_text() == "first"


def test_a_running_server_has_to_be_started_anew_for_its_packs(bench: Bench, server: Server) -> None:
    repository(bench.folder / "hub" / "ComfyUI-Impact-Pack")
    bench.variables = has_github(bench.folder)
    done = bench.prepare("--server", server.url, "--yes", workflow=faces(bench))
    assert done.code == 1 and "start the server anew" in done.err and not bench.placed.exists()


def has_github(folder: Path) -> dict[str, str]:
    """Settings of git under which one owner's repositories at GitHub lie in a folder of this disk."""
    config = folder / "gitconfig"
    config.write_text(f'[url "{(folder / "hub").as_uri()}/"]\n\tinsteadOf = https://github.com/ltdrdata/\n')
    return {"GIT_CONFIG_GLOBAL": str(config), "COMFYOPS_OFFLINE": "0"}


def test_what_it_fetches_is_seen_from_elsewhere_and_gone_on_with_after_a_stop(bench: Bench) -> None:
    arguments = ("workflow", "prepare", "painted.json", "--comfyui-path", "ComfyUI", "--catalog", "catalog.yaml")
    bench.hub.faults = Faults(stall_after=20_000)
    try:
        with started(*arguments, "--yes", folder=bench.folder, variables=bench.all_variables) as it:
            wait_until(lambda: [item["model"] for item in bench("models", "downloads", "ls", "--json").data] == [MODEL])
            done = stopped(it, signal.SIGTERM)
    finally:
        bench.hub.faults = Faults()
    assert done.code == 130 and "models downloads resume" in done.err and not bench.placed.exists()
    assert bench("models", "downloads", "resume", "--json").data["outcomes"][0]["ok"]
    assert bench.placed.read_bytes() == DATA


def test_wrong_bytes_are_not_placed_and_nothing_is_tried(bench: Bench, server: Server) -> None:
    bench.catalog(size=len(DATA), sha256="0" * 64)
    done = bench.prepare("--yes", "--server", server.url, "--lock", "comfyops.lock")
    assert done.code == 1 and "upstream_changed" in done.out and "it could not run" in done.err
    assert not bench.placed.exists() and not (bench.folder / "comfyops.lock").exists()


def test_a_storyboards_models_are_prepared_too(bench: Bench, server: Server) -> None:
    shots = [{"id": "shot", "panels": [{"id": name, "prompt": name} for name in ("cliff", "stairs")]}]
    story = {"project": {"id": "story"}, "sequences": [{"id": "night", "shots": shots}]}
    (bench.folder / "story.yaml").write_text(yaml.safe_dump(story))
    done = bench.prepare("--yes", "--server", server.url, "--json", workflow="story.yaml")
    assert done.data["ready"] and len(done.data["smoke"]) == 1, done
    assert [item["model"] for item in done.data["models"]] == [MODEL]


def test_a_lock_holds_until_something_changes(bench: Bench, server: Server) -> None:
    lock = ("lock", "verify", "comfyops.lock")
    assert bench.prepare("--yes", "--server", server.url, "--lock", "comfyops.lock").code == 0
    here = ("--comfyui-path", "ComfyUI")
    assert bench(*lock).code == 0
    everything = bench(*lock, *here, "--deep", "--upstream", "--workflow", "painted.json", "--json")
    assert everything.code == 1, "the folder of this ComfyUI does not say its version"
    bad = [row for row in everything.envelope["data"]["rows"] if not row["ok"]]
    assert [row["kind"] for row in bad] == ["program"], bad
    (bench.comfyui / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    assert bench(*lock, *here, "--deep", "--upstream", "--workflow", "painted.json").code == 0
    bench.placed.write_bytes(DATA[:-1] + b"?")
    changed = bench(*lock, *here, "--deep")
    assert changed.code == 1 and "bad  model" in changed.out
    bench.placed.unlink()
    assert "missing" in bench(*lock, *here).out
    write(bench.folder / "painted.json", painted())
    assert "another file" in bench(*lock, "--workflow", "painted.json").out


def test_a_lock_is_kept_to(bench: Bench, server: Server) -> None:
    assert bench.prepare("--yes", "--server", server.url, "--lock", "comfyops.lock").code == 0
    before = (bench.folder / "comfyops.lock").read_text()
    bench.placed.unlink()
    bench.catalog(size=1, sha256="1" * 64)
    done = bench.prepare("--yes", "--server", server.url, "--lock", "comfyops.lock")
    assert done.code == 0 and bench.placed.read_bytes() == DATA, done
    assert json.loads(before)["models"] == json.loads((bench.folder / "comfyops.lock").read_text())["models"]


def test_bad_wishes_are_refused_in_one_sentence(bench: Bench, tmp_path: Path) -> None:
    bench("workflow", "prepare", "gone.json", "--comfyui-path", "ComfyUI").failed_with("file_missing", "gone.json")
    bench("workflow", "prepare", "painted.json", "--comfyui-path", "x").failed_with("file_missing", "x is no folder")
    (bench.folder / "bad.lock").write_text("[]")
    bench("lock", "verify", "bad.lock").failed_with("catalog", "no lock of a workflow")
    (bench.folder / "bad.lock").write_text("nothing")
    bench.prepare("--lock", "bad.lock").failed_with("not_json", "is not JSON")
    bench("lock", "verify", "none.lock").failed_with("file_missing", "none.lock")
