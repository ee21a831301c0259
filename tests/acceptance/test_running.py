"""`comfyops run` and `comfyops jobs` on a server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from comfyops.workflows import embedded
from tests.acceptance.processes import COMMAND, Server, comfyops, environment, simulated


def test_a_workflow_runs_and_its_outputs_are_fetched(server: Server, folder: Path) -> None:
    done = comfyops("run", "picture.json", "--server", server.url, "-o", "made here", folder=folder)
    assert (done.code, done.out.count("\n")) == (0, 1)
    made = folder / done.out.strip()
    assert made.parent == folder / "made here"
    with Image.open(made) as picture:
        assert picture.size == (16, 16)
    assert "1 output in" in done.err and "made here" not in done.err


def test_the_envelope_names_every_output_with_its_hash(server: Server, folder: Path) -> None:
    done = comfyops("run", "painted.json", "--json", "--server", server.url, "-o", "out", folder=folder)
    assert list(done.envelope) == ["schema", "ok", "command", "version", "data", "error"]
    assert (done.envelope["schema"], done.envelope["command"], done.envelope["error"]) == ("envelope/1", "run", None)
    (output,) = done.data["outputs"]
    assert output["sha256"] == hashlib.sha256((folder / output["path"]).read_bytes()).hexdigest()
    assert done.data["cached"] is False and done.data["run_id"] in server.get("/history")
    assert done.err == ""


def test_inputs_are_set_by_bare_name_by_node_and_by_title(server: Server, folder: Path) -> None:
    changes = ["prompt=a red = door", "negative=ünscharf", "seed=7", "4.width=128", "KSampler.cfg=3.5", "Avoid.text=x"]
    options = [part for change in changes for part in ("--set", change)]
    done = comfyops("run", "painted.json", *options, "--json", "--server", server.url, "-o", "out", folder=folder)
    ran = server.get(f"/history/{done.data['run_id']}")[done.data["run_id"]]["prompt"][2]
    assert ran["2"]["inputs"]["text"] == "a red = door" and ran["3"]["inputs"]["text"] == "x"
    assert ran["4"]["inputs"]["width"] == 128
    assert (ran["5"]["inputs"]["seed"], ran["5"]["inputs"]["cfg"]) == (7, 3.5)


def test_a_picture_that_was_saved_is_a_workflow_too(server: Server, folder: Path) -> None:
    first = comfyops("run", "painted.json", "--json", "--server", server.url, "-o", "out", folder=folder)
    picture = folder / first.data["outputs"][0]["path"]
    again = comfyops("run", picture, "--set", "seed=99", "--json", "--server", server.url, "-o", "out", folder=folder)
    graph = embedded.read((folder / again.data["outputs"][0]["path"]).read_bytes())
    assert graph["5"].inputs is not None and graph["5"].inputs["seed"] == 99
    shown = comfyops("workflow", "show", picture, "--json")
    assert shown.data["models"] == ["sd_xl_base_1.0.safetensors"] and len(shown.data["nodes"]) == 7


def test_local_pictures_are_uploaded(server: Server, folder: Path) -> None:
    Image.new("RGB", (5, 7), "red").save(folder / "my phöto.png")
    options = ("--set", "image=my phöto.png", "--json", "--server", server.url, "-o", "out")
    done = comfyops("run", "load.json", *options, folder=folder)
    (output,) = done.data["outputs"]
    with Image.open(folder / output["path"]) as made:
        assert (made.size, made.getpixel((0, 0))) == ((5, 7), (255, 0, 0))


def test_a_workflow_comes_from_stdin(server: Server, folder: Path) -> None:
    graph = (folder / "picture.json").read_bytes()
    options = ("--server", server.url, "-o", "out", "--json")
    wrapped = json.dumps({"prompt": json.loads(graph), "client_id": "x"}).encode()
    first = comfyops("run", "-", *options, folder=folder, stdin=graph)
    second = comfyops("run", *options, "--", "-", folder=folder, stdin=wrapped)
    assert first.data["outputs"][0]["sha256"] == second.data["outputs"][0]["sha256"]


def test_jobs_are_submitted_listed_and_cancelled(slow_server: Server, folder: Path) -> None:
    server = ("--server", slow_server.url)
    first = comfyops("run", "picture.json", "--no-wait", *server, folder=folder)
    second = comfyops("run", "picture.json", "--no-wait", "--json", *server, folder=folder).data["run_id"]
    assert first.code == 0 and not (folder / "comfyops-output").exists()
    ids = [first.out.strip(), second]
    listed = {job["run_id"]: job["status"] for job in comfyops("jobs", "ls", "--json", *server).data}
    assert {listed[run_id] for run_id in ids} == {"in_progress", "pending"}
    cancelled = comfyops("jobs", "cancel", *reversed(ids), "no-such-job", "--json", *server)
    assert cancelled.code == 1
    assert [item["cancelled"] for item in cancelled.envelope["data"]] == [True, True, False]
    assert slow_server.queue() == ([], [])
    lines = [line.split()[:2] for line in comfyops("jobs", "ls", *server).out.splitlines()]
    assert [first.out.strip(), "cancelled"] in lines


def test_a_terminal_sees_bars_with_the_names_of_nodes(folder: Path) -> None:
    ours, theirs = os.openpty()
    with simulated("--seconds-per-step", "0.3", "--previews") as slow:
        command = [COMMAND, "run", "painted.json", "--server", slow.url, "-o", "out"]
        variables = environment(TERM="xterm", COLUMNS="120")
        with subprocess.Popen(command, cwd=folder, env=variables, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            seen = b""
            with contextlib.suppress(OSError):  # which is how a terminal without writers ends
                while piece := os.read(ours, 65536):
                    seen += piece
        os.close(ours)
    assert process.returncode == 0 and b"5 KSampler" in seen and b"1/2" in seen and b"out/painted_" in seen


@pytest.mark.parametrize("how", ["--server", "COMFYUI_URL", ".env"])
def test_the_server_is_found_by_option_environment_and_file(server: Server, folder: Path, how: str) -> None:
    variables = {"COMFYUI_URL": server.url} if how == "COMFYUI_URL" else {}
    if how == ".env":
        (folder / ".env").write_text(f"COMFYUI_URL={server.url}\n")
    options = ("--server", server.url.removeprefix("http://")) if how == "--server" else ()
    assert comfyops("jobs", "ls", *options, folder=folder, variables=variables).code == 0
