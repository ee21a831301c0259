"""`comfyops serve --launch`: a ComfyUI started behind the gateway, and again when it dies; by the installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import COMMAND, SECONDS, comfyops, environment, get, stopped, wait_until
from tests.fake_comfyui import installation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installation(tmp_path / "ComfyUI", mortal=True)
    return tmp_path


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """What a started gateway says of itself, and its process."""
    own = environment(COMFYOPS_HOME=str(folder / "home"), **variables)
    command = [COMMAND, "serve", "--launch", "--comfyui-path", "ComfyUI", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("\n}\n"):
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                text += line
            yield json.loads(text)["data"], process
        finally:
            if process.poll() is None:
                process.terminate()


def health(url: str) -> dict[str, Any]:
    """What /health says, whatever its status."""
    try:
        found: dict[str, Any] = get(url + "/health")
    except urllib.error.HTTPError as error:
        found = json.load(error)
    return found


def starts(folder: Path) -> list[int]:
    """The process ids of every start."""
    file = folder / "ComfyUI" / "starts.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def die(url: str) -> None:
    """Tell the ComfyUI to die."""
    with suppress(OSError):
        urllib.request.urlopen(url + "/die", timeout=SECONDS)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_started_again_when_it_dies_and_stopped_at_the_end(folder: Path) -> None:
    with serving(folder) as (data, process):
        backend, url = data["backends"][0], data["url"]
        assert backend.startswith("http://127.0.0.1:") and data["simulated"] is False
        assert health(url)["launched"] == [{"status": "running", "restarts": 0}]
        die(backend)
        wait_until(lambda: len(starts(folder)) == 2)
        wait_until(lambda: health(url) == {**health(url), "status": "ok", "backends": {"ok": 1}})
        assert health(url)["launched"] == [{"status": "running", "restarts": 1}]
        done = stopped(process, signal.SIGTERM)
    assert done.code == 0 and "ended by itself (exit code 3)" in done.err and "Traceback" not in done.err
    assert all(gone(pid) for pid in starts(folder))
    audit = comfyops("audit", "ls", "--home", folder / "home", "--json").data
    events = [item["reason"] for item in audit if item["action"] == "server"]
    assert len(events) == 2 and any(text.startswith("restarting: ComfyUI ended") for text in events), events


def test_a_dead_worker_is_seen_and_it_is_started_anew(folder: Path) -> None:
    with serving(folder, COMFYOPS_STALL_TIMEOUT="1.5") as (data, process):
        waiting = {"queue_running": [], "queue_pending": [[1, "job-1", {}, {}, []]]}
        (folder / "ComfyUI" / "queue.json").write_text(json.dumps(waiting))
        wait_until(lambda: len(starts(folder)) == 2)
        wait_until(lambda: health(data["url"])["launched"] == [{"status": "running", "restarts": 1}])
        wait_until(lambda: gone(starts(folder)[0]))
        done = stopped(process, signal.SIGINT)
    assert done.code == 0 and "Its worker is dead" in done.err


def test_one_that_answers_no_more_is_ended_and_started_anew(folder: Path) -> None:
    with serving(folder, COMFYOPS_STALL_TIMEOUT="1.5") as (data, process):
        os.kill(starts(folder)[0], signal.SIGSTOP)  # as a node that never gives other threads their turn
        wait_until(lambda: len(starts(folder)) == 2)
        wait_until(lambda: health(data["url"])["launched"] == [{"status": "running", "restarts": 1}])
        wait_until(lambda: gone(starts(folder)[0]))
        done = stopped(process, signal.SIGINT)
    assert done.code == 0 and "It does not answer" in done.err


def test_one_that_cannot_come_back_is_told_while_the_gateway_stays(folder: Path) -> None:
    with serving(folder) as (data, process):
        (folder / "ComfyUI" / "broken").touch()
        die(data["backends"][0])
        wait_until(lambda: health(data["url"])["status"] == "down")
        assert health(data["url"])["launched"][0]["status"] == "restarting"
        (folder / "ComfyUI" / "broken").unlink()
        wait_until(lambda: health(data["url"])["status"] == "ok")
        assert stopped(process, signal.SIGTERM).code == 0


def test_one_that_does_not_start_ends_the_command(folder: Path) -> None:
    (folder / "ComfyUI" / "broken").touch()
    options = ("serve", "--launch", "--comfyui-path", "ComfyUI", "--port", "0", "--home", "home")
    done = comfyops(*options, folder=folder, variables={"COMFYOPS_HOME": str(folder / "home")})
    assert done.code == 1 and "error (launch): ComfyUI ended before it answered" in done.err, done


def test_options_that_make_no_sense_are_told(folder: Path) -> None:
    comfyops("serve", "--python", "x", "--home", folder).failed_with("usage", "--launch", exit_code=2)
    comfyops("serve", "--home", folder, "--", "--lowvram").failed_with("usage", "--launch", exit_code=2)
    comfyops("serve", "--launch", "--comfyui-path", "x", "--home", folder).failed_with("file_missing", "x is no folder")
    options = ("serve", "--launch", "--comfyui-path", folder / "ComfyUI", "--home", folder, "--", "--port", "1")
    comfyops(*options).failed_with("usage", "--port", exit_code=2)
