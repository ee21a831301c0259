"""`comfyops launch`: a stand-in for ComfyUI started, listened to, stopped; by the installed command."""

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
import yaml

from comfyops.testing.model_hub import ModelHub
from tests.acceptance.processes import COMMAND, Done, comfyops, ended, environment, get, stopped, wait_until
from tests.fake_comfyui import free_port, installation
from tests.unit.models.shelf import HF, weights

DATA = weights(10_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installation(tmp_path / "ComfyUI")
    return tmp_path


@contextmanager
def launched(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command while the block runs; ended at its end."""
    variables = environment(COMFYOPS_HOME=str(folder / "home"), COMFYOPS_TOKEN="secret-token")
    arguments = [COMMAND, "launch", "--no-models", "--comfyui-path", "ComfyUI", *options]
    with subprocess.Popen(
        arguments, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def announced(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the command says once ComfyUI answers."""
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        text += line
    return json.loads(text)["data"]


def failing(folder: Path, *options: str) -> Done:
    return comfyops(
        *("launch", "--no-models", "--comfyui-path", "ComfyUI", *options),
        folder=folder,
        variables={"COMFYOPS_HOME": str(folder / "home")},
    )


def log_of(folder: Path, port: int) -> str:
    return (folder / "home" / "logs" / f"comfyui-{port}.log").read_text()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_answers_then_is_stopped_by_any_signal_that_ends_a_command(folder: Path, by: signal.Signals) -> None:
    if signal.getsignal(by) is signal.SIG_IGN:
        pytest.skip("it is ignored here, and so by all that is started")
    port = free_port()
    with launched(folder, "--port", str(port), "--cors", "http://localhost:3000", "--json", "--", "--noise", "3") as it:
        data = announced(it)
        assert data["url"] == f"http://127.0.0.1:{port}" and data["version"] == "0.0.test"
        assert get(data["url"] + "/system_stats")["system"]["comfyui_version"] == "0.0.test"
        done = stopped(it, by)
    assert (done.code, done.out) == (0, "") and "Traceback" not in done.err
    wait_until(lambda: gone(data["pid"]))
    log = log_of(folder, port)
    assert "noise 2" in log and log.endswith("Stopped server\n") and "secret-token" not in log
    assert '"--enable-cors-header", "http://localhost:3000", "--cpu"' in log


def test_pages_of_several_origins_are_let_in(folder: Path) -> None:
    port, pages = free_port(), ("http://localhost:3000", "http://localhost:5176")
    with launched(folder, "--port", str(port), "--cors", pages[0], "--cors", pages[1], "--json") as it:
        data = announced(it)
        assert data["url"] == f"http://127.0.0.1:{port}" and data["origins"] == list(pages)
        for page in pages:
            ask = urllib.request.Request(f"{data['url']}/system_stats", headers={"Origin": page})
            with urllib.request.urlopen(ask, timeout=20) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == page
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(
                urllib.request.Request(f"{data['url']}/system_stats", headers={"Origin": "http://localhost:9"}),
                timeout=20,
            )
        assert stopped(it, signal.SIGINT).code == 0
    assert "--enable-cors-header" not in log_of(folder, port)


def test_its_output_is_shown_and_more_than_a_pipe_holds_is_drained(folder: Path) -> None:
    with launched(folder, "--port", str(free_port()), "--", "--noise", "3000") as it:
        assert it.stderr is not None
        awaited = {f"noise {number}" for number in range(3000)} | {"ComfyUI 0.0.test"}
        for line in it.stderr:
            awaited.discard(" ".join(line.split()[:2]))
            if not awaited:
                break
        assert not awaited
        assert stopped(it, signal.SIGINT).code == 0


def test_it_runs_on_when_nobody_reads_what_it_says_any_more(folder: Path) -> None:
    port = free_port()
    with launched(folder, "--port", str(port), "--json", "--", "--noise", "3000") as it:
        assert it.stderr is not None
        it.stderr.close()
        data = announced(it)
        it.stderr = None
        done = stopped(it, signal.SIGINT)
    assert done.code == 0
    assert "noise 2999" in log_of(folder, port) and gone(data["pid"])


def test_the_device_is_judged_by_its_python(tmp_path: Path) -> None:
    installation(tmp_path / "portable" / "ComfyUI", gpu=True)
    done = comfyops("launch", "--comfyui-path", "portable", "--dry-run", "--json", folder=tmp_path)
    assert "--cpu" not in done.data["command"] and done.data["python"]["device_name"] == "Test GPU"


def test_a_port_in_use_is_said_before_anything_is_started(folder: Path) -> None:
    port = str(free_port())
    with launched(folder, "--port", port, "--json") as it:
        announced(it)
        done = failing(folder, "--port", port)
        done.failed_with(
            "port_in_use", f"Port {port} is in use by a ComfyUI 0.0.test", f"--server http://127.0.0.1:{port}"
        )
        assert stopped(it, signal.SIGTERM).code == 0


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ("module", ["exit code 1", "lacks a_module_that_is_not_there", "requirements.txt"]),
        ("exit", ["exit code 3", "something is wrong", "hint: Read ", "comfyui-"]),
    ],
)
def test_one_that_does_not_start_is_said_with_its_last_words(folder: Path, fail: str, words: list[str]) -> None:
    done = failing(folder, "--quiet", "--port", str(free_port()), "--", "--fail", fail)
    done.failed_with("launch", "ended before it answered", *words)


def test_one_that_never_answers_is_given_up_and_stopped(folder: Path) -> None:
    done = failing(folder, "--quiet", "--start-timeout", "1", "--port", str(free_port()), "--", "--fail", "silent")
    done.failed_with("launch", "did not answer", "within 1 s")


def test_one_that_dies_later_is_said(folder: Path) -> None:
    for options in ((), ("--json",)):
        with launched(folder, *options, "--port", str(free_port())) as it:
            assert it.stderr is not None
            assert any("stop it with Ctrl-C" in line for line in it.stderr)
            os.kill(int(children(it.pid)[0]), signal.SIGKILL)
            done = ended(it)
        assert done.code == 1 and "error (launch): ComfyUI ended by itself (signal 9)" in done.err, done
        assert done.out.count('"schema"') == len(options)


def test_nothing_that_it_started_stays(folder: Path) -> None:
    with launched(folder, "--port", str(free_port()), "--json", "--", "--child", "child.pid") as it:
        announced(it)
        child = int((folder / "ComfyUI" / "child.pid").read_text())
        assert not gone(child)
        assert stopped(it, signal.SIGINT).code == 0
    wait_until(lambda: gone(child))


def test_ctrl_c_before_it_answers_stops_it(folder: Path) -> None:
    port = free_port()
    with launched(folder, "--port", str(port), "--", "--fail", "silent") as it:
        wait_until(lambda: (folder / "home").is_dir() and "arguments" in log_of(folder, port))
        pid = int(children(it.pid)[0])
        done = stopped(it, signal.SIGINT)
    assert done.code == 130 and done.err.splitlines()[-1] == "interrupted"
    wait_until(lambda: gone(pid))


def test_bad_wishes_are_refused(folder: Path) -> None:
    failing(folder, "--cors", "localhost").failed_with("usage", "no origin", exit_code=2)
    failing(folder, "--", "--port", "1").failed_with("usage", "must not stand after --", exit_code=2)
    failing(folder, "--listen", "203.0.113.7").failed_with("usage", "Nothing can listen on", exit_code=2)
    failing(folder, "--python", "gone").failed_with("file_missing", "no Python at gone")
    comfyops("launch", "--comfyui-path", "nowhere", folder=folder).failed_with("file_missing", "nowhere is no folder")


def test_one_that_nobody_names_is_searched_for(tmp_path: Path) -> None:
    installation(tmp_path / "comfyui_portable" / "ComfyUI")
    done = comfyops("launch", "--dry-run", "--json", folder=tmp_path)
    assert done.data["comfyui_path"] == str(tmp_path / "comfyui_portable" / "ComfyUI")
    done = comfyops("launch", "--dry-run", folder=tmp_path / "comfyui_portable", variables={"HOME": str(tmp_path)})
    assert done.code == 0
    nothing = comfyops("launch", "--dry-run", folder=Path("/"), variables={"HOME": str(tmp_path)})
    nothing.failed_with("file_missing", "--comfyui-path")


def test_required_models_are_fetched_first_and_optional_ones_never_block(folder: Path) -> None:
    needed, wished = "loras/needed.safetensors", "loras/wished.safetensors"
    with ModelHub({f"org/repo/{name}.safetensors": DATA for name in ("needed", "wished")}) as hub:
        variables = models_of(folder, hub, required=needed, optional=wished)
        port = free_port()
        arguments = ("launch", "--comfyui-path", "ComfyUI", "--group", "mine", "--port", str(port))
        done = comfyops(*arguments, "--", "--fail", "exit", folder=folder, variables=variables)
        assert not (folder / "ComfyUI/models" / wished).exists()
        (folder / "ComfyUI/models" / wished).write_bytes(DATA[:-1])
        again = comfyops(*arguments, "--", "--fail", "exit", folder=folder, variables=variables)
        elsewhere = comfyops(*arguments, "--", "--base-directory", "other", folder=folder, variables=variables)
    done.failed_with("launch", "exit code 3", "1 required model to fetch first")
    assert (folder / "ComfyUI/models" / needed).read_bytes() == DATA
    again.failed_with("launch", "exit code 3", "1 required model there")
    assert (folder / "ComfyUI/models" / wished).read_bytes() == DATA[:-1]
    elsewhere.failed_with("launch", "exit code 2", "1 required model to fetch first", "--base-directory")
    assert (folder / "ComfyUI/other/models" / needed).read_bytes() == DATA


def test_without_a_required_model_nothing_is_started(folder: Path) -> None:
    with ModelHub({}) as hub:
        variables = models_of(folder, hub, required="loras/needed.safetensors", optional="loras/wished.safetensors")
        arguments = ("launch", "--comfyui-path", "ComfyUI", "--group", "mine", "--port", str(free_port()))
        done = comfyops(*arguments, folder=folder, variables=variables)
    done.failed_with("model", "1 required model cannot be had", "loras/needed.safetensors", "--no-models")
    assert not list((folder / "home").glob("logs/*"))
    unknown = comfyops("launch", "--comfyui-path", "ComfyUI", "--group", "mnie", folder=folder, variables=variables)
    unknown.failed_with("unknown_model", "mnie", "mine")


def models_of(folder: Path, hub: ModelHub, *, required: str, optional: str) -> dict[str, str]:
    """A person's own catalog with a group "mine", and the variables with which a simulated hub serves it."""
    models = []
    for name, group in ((required, "required_in"), (optional, "optional_in")):
        place, _, file = name.partition("/")
        models.append({"folder": place, "file": file, "url": f"{HF}/org/repo/resolve/main/{file}", group: ["mine"]})
    (folder / "home").mkdir()
    (folder / "home" / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    return {
        "COMFYOPS_HOME": str(folder / "home"),
        "HF_ENDPOINT": hub.endpoint,
        "COMFYOPS_MODEL_HOSTS": f"{hub.endpoint},{hub.store}",
    }


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def gone(pid: int) -> bool:
    """Whether a process is no more."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
