"""`comfyops models downloads` and stopping: processes that fetch, and others that steer them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyops.testing.model_hub import Faults, ModelHub
from tests.acceptance import processes
from tests.acceptance.processes import COMMAND, SECONDS, Done, environment, wait_until
from tests.unit.models.shelf import sha, weights

DATA = {name: weights(2_000_000, seed=number) for number, name in enumerate("ab")}
SLOW = Faults(throttle=60_000)


class Desk:
    """A folder with a catalog of two models, and a slow hub."""

    def __init__(self, folder: Path, hub: ModelHub) -> None:
        self.folder, self.hub = folder, hub
        models = [
            {
                "file": f"{name}.safetensors",
                "folder": "loras",
                "url": f"https://huggingface.co/org/repo/resolve/main/{name}.safetensors",
                **{"size": len(data), "sha256": sha(data), "required_in": ["both"]},
            }
            for name, data in DATA.items()
        ]
        (folder / "catalog.json").write_text(json.dumps({"models": models}))
        self.variables = {
            "COMFYOPS_HOME": str(folder / "home"),
            "COMFYOPS_MODEL_HOSTS": f"{hub.endpoint},{hub.store}",
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "hf"),
        }

    def run(self, *words: str) -> Done:
        """`comfyops models ...`."""
        return processes.comfyops("models", *words, folder=self.folder, variables=self.variables)

    def fetching(self) -> subprocess.Popen[str]:
        """`comfyops models download` of both, begun."""
        words = ("--catalog", "catalog.json", "-g", "both", "--models-dir", "models", "--priority", "b=2")
        variables = environment(**self.variables)
        process = subprocess.Popen(
            [COMMAND, "models", "download", *words],
            **{"cwd": self.folder, "env": variables, "text": True},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: len(list((self.folder / "models/loras").glob(".*.part.json"))) == 2)
        return process

    def listed(self) -> dict[str, dict[str, Any]]:
        """What `downloads ls` says, by the models' short names."""
        return {Path(item["model"]).stem: item for item in self.run("downloads", "ls", "--json").data}

    def there(self) -> bool:
        """Whether both files are in their places."""
        paths = {name: self.folder / f"models/loras/{name}.safetensors" for name in DATA}
        return all(path.exists() and path.read_bytes() == DATA[name] for name, path in paths.items())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    files = {f"org/repo/{name}.safetensors": data for name, data in DATA.items()}
    with ModelHub(files, SLOW) as hub:
        yield Desk(tmp_path, hub)


def test_a_download_is_seen_and_steered_from_another_process(desk: Desk) -> None:
    process = desk.fetching()
    try:
        listed = desk.listed()
        assert {name: (item["running"], item["process"]) for name, item in listed.items()} == {
            "a": (True, process.pid),
            "b": (True, process.pid),
        }
        assert (listed["a"]["priority"], listed["b"]["priority"]) == (0, 2)
        assert listed["a"]["totalBytes"] == len(DATA["a"])
        assert desk.run("downloads", "pause").code == 0
        wait_until(lambda: {item["status"] for item in desk.listed().values()} == {"paused"})
        assert desk.run("downloads", "priority", "loras/a.safetensors", "5").code == 0
        desk.run("downloads", "pause", "nonsense").failed_with("unknown_model", "nonsense")
        desk.hub.faults = Faults()
        resumed = desk.run("downloads", "resume")
        assert (resumed.code, resumed.out.count("resume  loras/")) == (0, 2) and "put in place" not in resumed.err
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0 and desk.there(), (out, err)
    assert desk.listed() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_is_stopped_is_gone_on_with(desk: Desk, number: signal.Signals) -> None:
    process = desk.fetching()
    process.send_signal(number)
    _, err = process.communicate(timeout=SECONDS)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130 and "downloads resume" in err and "Traceback" not in err
        left = [path.name for path in desk.folder.rglob(".*")]
        assert left and not [name for name in left if name.endswith((".lock", ".new"))], "it ended in its own time"
        assert {item["errorMessage"] for item in desk.listed().values()} == {None}
    listed = desk.listed()
    assert {(name, item["running"], item["status"]) for name, item in listed.items()} == {
        ("a", False, "paused"),
        ("b", False, "paused"),
    }
    desk.hub.faults = Faults()
    sent = desk.hub.sent()
    done = desk.run("downloads", "resume", "--json")
    assert done.code == 0 and desk.there() and desk.listed() == {}
    assert len(done.data["outcomes"]) == 2 and desk.hub.sent() - sent < 4_100_000
    desk.run("downloads", "resume", "a").failed_with("unknown_model", "a")


def test_what_was_left_can_be_forgotten(desk: Desk) -> None:
    process = desk.fetching()
    process.kill()
    process.communicate(timeout=SECONDS)
    assert desk.run("downloads", "cancel", "a", "--json").data["forgotten"] == ["loras/a.safetensors"]
    assert set(desk.listed()) == {"b"}
    assert desk.run("downloads", "cancel").code == 0 and desk.listed() == {}


def test_a_priority_that_is_none_is_refused(desk: Desk) -> None:
    words = ("download", "--catalog", "catalog.json", "-g", "both", "--models-dir", "models")
    desk.run(*words, "--priority", "a").failed_with("usage", "a", exit_code=2)
    desk.run(*words, "--priority", "nobody=1").failed_with("unknown_model", "nobody")


def test_reading_every_byte_can_be_stopped(desk: Desk) -> None:
    (desk.folder / "models/loras").mkdir(parents=True)
    large = desk.folder / "models/loras/a.safetensors"
    header = b'{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}'
    with large.open("wb") as out:  # a terabyte of nothing: reading it all would take many minutes
        out.write(len(header).to_bytes(8, "little") + header)
        out.truncate(8 + len(header) + (1 << 40))
    catalog = {"models": [{"file": "a.safetensors", "folder": "loras", "required_in": ["one"]}]}
    (desk.folder / "large.json").write_text(json.dumps(catalog))
    words = ["verify", "--catalog", "large.json", "-g", "one", "--models-dir", "models"]
    process = subprocess.Popen(
        [COMMAND, "models", *words],
        **{"cwd": desk.folder, "env": environment(**desk.variables), "text": True},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None and process.stderr.readline().startswith("reading: ")
    process.terminate()
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and "Traceback" not in err
