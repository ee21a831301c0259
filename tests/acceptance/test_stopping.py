"""Ctrl-C and SIGTERM cancel what a command started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.conftest import painted, write
from tests.acceptance.processes import Server, comfyops, ended, simulated, started, stopped, wait_until


@pytest.mark.parametrize(("by", "json"), [(signal.SIGINT, []), (signal.SIGTERM, ["--json"])])
def test_a_running_job_is_cancelled(slow_server: Server, folder: Path, by: signal.Signals, json: list[str]) -> None:
    arguments = ("run", "painted.json", *json, "--server", slow_server.url, "-o", "out")
    with started(*arguments, folder=folder) as process:
        run_id = slow_server.running()
        done = stopped(process, by)
    assert done.code == 130 and "Traceback" not in done.err
    assert slow_server.queue() == ([], [])
    assert slow_server.get(f"/api/jobs/{run_id}")["status"] == "cancelled"
    assert not (folder / "out").exists()
    if json:
        assert (done.envelope["ok"], done.envelope["error"]["code"]) == (False, "interrupted")
    else:
        assert (done.out, done.err.splitlines()[-1]) == ("", "interrupted")


def test_a_waiting_job_is_cancelled_and_those_of_others_stay(slow_server: Server, folder: Path) -> None:
    server = ("--server", slow_server.url)
    other = comfyops("run", "picture.json", "--no-wait", *server, folder=folder).out.strip()
    with started("run", "painted.json", *server, folder=folder) as process:
        wait_until(lambda: slow_server.queue()[1])
        assert stopped(process, signal.SIGINT).code == 130
    assert slow_server.queue() == ([other], [])
    assert comfyops("jobs", "cancel", other, *server).code == 0


def test_a_stopped_rendering_cancels_its_panels_and_goes_on_later(slow_server: Server, tmp_path: Path) -> None:
    arguments = ("storyboard", "demo", "--server", slow_server.url, "-o", "out", "--json")
    with started(*arguments, folder=tmp_path) as process:
        wait_until(lambda: all(slow_server.queue()))
        assert stopped(process, signal.SIGINT).code == 130
    assert slow_server.queue() == ([], [])
    assert not list((tmp_path / "out").rglob("*.png")) and not list(tmp_path.rglob("*.part"))


def test_a_simulator_ends_well_by_either_signal() -> None:
    for by in (signal.SIGINT, signal.SIGTERM):
        with simulated() as server:
            done = stopped(server.process, by)
        assert (done.code, done.out) == (0, "")


def test_a_run_can_be_stopped_while_its_server_is_away(tmp_path: Path) -> None:
    write(tmp_path / "painted.json", painted())
    with (
        simulated("--fault", "die-mid-run") as server,
        started("run", "painted.json", "--server", server.url, folder=tmp_path) as process,
    ):
        assert ended(server.process).code == 1
        assert stopped(process, signal.SIGINT).code == 130
