"""`comfyops simulate` with its faults, and how the other commands take them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.processes import comfyops, ended, simulated, started


@pytest.mark.parametrize(
    ("fault", "words"), [("fail-class=KSampler", "simulated failure"), ("oom_class=KSampler", "Allocation on device")]
)
def test_nodes_that_fail(folder: Path, fault: str, words: str) -> None:
    with simulated("--fault", fault) as server:
        done = comfyops("run", "painted.json", "--server", server.url, "-o", "out", folder=folder)
        done.failed_with("run_failed", "Node 5 (KSampler)", words)
        assert sum("error" in line for line in done.err.splitlines()) == 1
        assert comfyops("run", "picture.json", "--server", server.url, "-o", "out", folder=folder).code == 0


def test_a_slow_server_is_as_slow_as_it_was_told(folder: Path) -> None:
    with simulated("--seconds-per-step", "0.1", "--fault", "slow-factor=4") as server:
        done = comfyops("run", "painted.json", "--json", "--server", server.url, "-o", "out", folder=folder)
    assert done.data["seconds"] > 2 * 0.1 * 4


def test_dropped_sockets_do_not_cost_a_run(folder: Path) -> None:
    with simulated("--fault", "drop-sockets-after=2", "--previews") as server:
        done = comfyops("run", "painted.json", "--server", server.url, "-o", "out", folder=folder)
    assert done.code == 0 and (folder / done.out.strip()).is_file()


def test_a_server_that_forgets_its_runs_is_told(folder: Path) -> None:
    with simulated("--fault", "forget-after-runs=1") as server:
        done = comfyops("run", "painted.json", "--server", server.url, "-o", "out", folder=folder)
        done.failed_with("run_lost", "hint:")
        assert server.get("/history") == {}


def test_a_dead_worker_is_told_instead_of_waiting_for_ever(folder: Path) -> None:
    with simulated("--fault", "dead-worker") as server:
        options = ("run", "painted.json", "--server", server.url)
        done = comfyops(*options, folder=folder, variables={"COMFYOPS_STALL_TIMEOUT": "1"})
        done.failed_with("backend_stalled", "hint:")
        impatient = comfyops(*options, "--timeout", "0.5", folder=folder)
        impatient.failed_with("timeout", "longer than 0.5 s", "jobs cancel")


def test_a_cut_picture_is_not_taken_for_a_panel(tmp_path: Path) -> None:
    with simulated("--fault", "corrupt-output") as server:
        done = comfyops("storyboard", "demo", "--json", "--server", server.url, "-o", "out", folder=tmp_path)
    assert done.code == 1
    assert {item["state"] for item in done.envelope["data"]["panels"]} == {"failed"}
    assert not list((tmp_path / "out").rglob("panels/*.png"))


def test_a_server_of_the_older_version_with_files_of_its_own(folder: Path) -> None:
    with simulated("--version", "0.8.0", "--home", folder / "home") as server:
        assert server.get("/system_stats")["system"]["comfyui_version"] == "0.8.0"
        done = comfyops("run", "picture.json", "--json", "--server", server.url, "-o", "out", folder=folder)
    (output,) = done.data["outputs"]
    with Image.open(folder / "home" / "output" / output["output"]["filename"]) as picture:
        assert picture.size == (16, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fault", "nosuch"), "'nosuch'"),
        (("--fault", "die-mid-run=maybe"), "'maybe'"),
        (("--fault", "slow-factor=abc"), "'abc'"),
        (("--fault", "slow-factor=nan"), "'nan'"),
        (("--fault", "fail-class"), "node class"),
        (("--version", "3"), "0.33.0 and 0.8.0"),
        (("--port", "99999"), "--port"),
        (("--host", "no-such-host.invalid"), "no-such-host.invalid"),
    ],
)
def test_settings_that_cannot_be_are_told(options: tuple[str, ...], words: str) -> None:
    comfyops("simulate", *options).failed_with("usage", words, exit_code=2)


def test_a_port_that_is_taken_is_told_at_once() -> None:
    with simulated() as server:
        began = time.monotonic()
        with started("simulate", "--port", server.url.rpartition(":")[2]) as second:
            ended(second).failed_with("usage", "cannot listen", "--port", exit_code=2)
        assert time.monotonic() - began < 20
