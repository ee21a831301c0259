"""A gateway's durable jobs from the command line, and commands that are killed and go on."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from comfyops.cli import main
from tests.acceptance.processes import Done, Server, comfyops, ended, simulated, started, wait_until
from tests.acceptance.test_serve import gateway, token
from tests.acceptance.test_storyboards import BOARD, states
from tests.chaos.plans import WHOLE
from tests.fake_comfyui import free_port
from tests.unit.doc_pages import ROOT

WORKFLOW = str(ROOT / "docs" / "examples" / "sdxl.json")
QUICK = ("--set", "steps=1")
UNKNOWN = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True)
class House:
    """A gateway, and who may do what there."""

    url: str
    operator: str
    artist: str

    def run(self, *arguments: str | Path, secret: str | None = None, folder: Path | None = None) -> Done:
        """A command that asks the gateway, as the operator unless told otherwise; in this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, {"COMFYUI_URL": self.url, "COMFYOPS_TOKEN": secret or self.operator}),
            contextlib.chdir(folder or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main.run([str(argument) for argument in arguments])
        return Done(code, out.getvalue(), err.getvalue())

    def data(self, *arguments: str | Path, folder: Path | None = None) -> Any:
        """What a command found."""
        return self.run(*arguments[:2], "--json", *arguments[2:], folder=folder).data


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway before a simulated server."""
    home = tmp_path_factory.mktemp("home")
    with gateway(home) as (data, _):
        yield House(data["url"], token(home, "boss", "operator"), token(home, "ann"))


def test_a_job_is_submitted_once_for_a_key_watched_fetched_and_explained(house: House, tmp_path: Path) -> None:
    order = ("jobs", "submit", WORKFLOW, *QUICK, "--set", "seed=3", "--key", "order-1", "--label", "order=1")
    first, again = house.data(*order), house.data(*order)
    assert (first["id"], first["replayed"], again["replayed"]) == (again["id"], False, True)
    house.run(*order, "--set", "seed=4").failed_with("idempotency_key_reused", "order-1")
    job = first["id"]
    watched = house.run("jobs", "watch", job)
    assert watched.code == 0 and "succeeded" in watched.out and "made lighthouse" in watched.err
    saved = house.data("jobs", "wait", job, "-o", tmp_path / "out")["outputs"]
    assert saved[0]["verified"] and Path(saved[0]["path"]).read_bytes().startswith(b"\x89PNG")
    shown = house.data("jobs", "show", job)
    assert (shown["status"], shown["run_id"], len(shown["outputs"])) == ("succeeded", job, 1)
    assert house.data("jobs", "explain", job)["attempts"][0]["outcome"] == "done"
    assert house.data("jobs", "logs", job)[0]["data"]["state"] == "waiting"
    assert [item["id"] for item in house.data("jobs", "ls", "--label", "order=1")] == [job]


def test_a_table_is_one_batch_with_a_job_for_each_row(house: House, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text('\ufeffprompt,seed\na cat,1\n"a dog, sleeping",2\n', encoding="utf-8")
    batch = house.data("jobs", "batch", WORKFLOW, *QUICK, "--table", tmp_path / "orders.csv", "--name", "orders")
    assert len(batch["job_ids"]) == 2
    saved = house.data("jobs", "wait", batch["id"], "-o", tmp_path / "out")["outputs"]
    assert len({item["path"] for item in saved}) == 2
    assert house.data("jobs", "show", batch["id"])["statuses"] == {"succeeded": 2}
    assert {item["batch_id"] for item in house.data("jobs", "ls", "--batch", batch["id"])} == {batch["id"]}


def test_prompts_and_seeds_are_a_job_for_each_of_both(house: House, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n\na dog\n")
    options = ("--prompts", tmp_path / "prompts.txt", "--seeds", "1..2,9")
    batch = house.data("jobs", "batch", WORKFLOW, *QUICK, *options)
    assert len(batch["job_ids"]) == 6


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), "usage", "--table"),
        (("--seeds", "1..x"), "usage", "1..x"),
        (("--seeds", "1..99999999"), "usage", "10000"),
        (("--table", "none.csv"), "file_missing", "none.csv"),
        (("--table", "ragged.csv"), "invalid_value", "Row 3"),
        (("--table", "unknown.csv"), "unknown_input", "nothing"),
        (("--seeds", "1", "--deadline", "soon"), "usage", "soon"),
    ],
)
def test_a_batch_that_cannot_be_is_told(
    house: House, tmp_path: Path, options: tuple[str, ...], code: str, words: str
) -> None:
    (tmp_path / "ragged.csv").write_text("prompt,seed\na,1\nb\n")
    (tmp_path / "unknown.csv").write_text("nothing\n1\n")
    done = house.run("jobs", "batch", WORKFLOW, *options, folder=tmp_path)
    done.failed_with(code, words, exit_code=2 if code == "usage" else 1)


def test_operators_hold_the_queue_and_steer_what_waits(house: House, tmp_path: Path) -> None:
    assert house.data("queue", "pause")["paused"] is True
    try:
        job = house.data("jobs", "submit", WORKFLOW, *QUICK)["id"]
        assert house.data("jobs", "priority", job, "--", "-3")["priority"] == -3
        assert house.data("queue", "stats")["jobs"]["waiting"] >= 1
        assert house.data("jobs", "cancel", job)[0]["cancelled"] is True
        assert house.run("jobs", "cancel", job).code == 1
    finally:
        assert house.data("queue", "resume")["paused"] is False
    assert house.data("queue", "revoke-links") == {"revoked": True}
    assert house.data("jobs", "retry", job)[0]["status"] == "queued"
    assert len(house.data("jobs", "wait", job, "-o", tmp_path)["outputs"]) == 1


def test_backends_come_and_go_while_the_gateway_runs(house: House) -> None:
    with simulated() as other:
        added = house.data("backends", "add", other.url, "--name", "other", "--tag", "big")
        assert (added["name"], added["tags"]) == ("other", ["big"])
        wait_until(lambda: {row["name"]: row["state"] for row in house.data("backends", "ls")}["other"] == "up")
        assert house.data("backends", "test", "other")["canary"] == "made"
        job = house.data("jobs", "submit", WORKFLOW, *QUICK, "--needs-tag", "big")["id"]
        assert house.run("jobs", "watch", job).code == 0
        assert house.data("jobs", "show", job)["backend"] in (None, "other")
        assert house.data("jobs", "explain", job)["attempts"][0]["backend"] == "other"
        assert house.data("backends", "drain", "other", "--reason", "new driver")["reason"] == "new driver"
        assert house.data("backends", "remove", "other") == {"removed": "other"}
    house.run("backends", "test", "other").failed_with("unknown_backend", "other")
    house.run("jobs", "submit", WORKFLOW, "--needs-tag", "big").failed_with("no_backend", "big")
    house.run("jobs", "submit", WORKFLOW, "--needs-vram-gb", "9999").failed_with("no_backend", "GiB")


def test_schedules_quotas_and_webhooks_have_commands(house: House) -> None:
    plan = ("schedules", "add", "nightly", "0 3 * * *", WORKFLOW, "--timezone", "Europe/Paris")
    assert house.data(*plan)["next_at"] > 0
    assert house.data("schedules", "pause", "nightly")["paused"] is True
    assert [item["name"] for item in house.data("schedules", "ls")] == ["nightly"]
    assert house.data("schedules", "remove", "nightly") == {"removed": "nightly"}
    house.run("schedules", "remove", "nightly").failed_with("schedule", "nightly")
    assert house.data("quotas", "set", "own_x", "--running", "2")["max_running"] == 2
    assert [item["owner"] for item in house.data("quotas", "ls")] == ["own_x"]
    assert house.data("quotas", "remove", "own_x") == {"removed": "own_x"}
    job = house.data("jobs", "submit", WORKFLOW, *QUICK, "--webhook", "http://127.0.0.1:9/told")["id"]
    assert house.run("jobs", "watch", job).code == 0
    (message,) = house.data("webhooks", "ls", "--job", job)
    assert message["type"] == "job.completed"
    assert house.data("webhooks", "replay", message["id"])[0]["state"] == "waiting"


def test_only_operators_see_and_change_what_is_everybodys(house: House) -> None:
    for command in (("queue", "pause"), ("backends", "ls"), ("quotas", "ls"), ("webhooks", "ls"), ("schedules", "ls")):
        house.run(*command, secret=house.artist).failed_with("rejected", "server:operate")
    job = house.data("jobs", "submit", WORKFLOW, *QUICK)["id"]
    house.run("jobs", "show", job, secret=house.artist).failed_with("unknown_job", job)
    house.run("jobs", "ls", secret="cops_0000000000000000_wrong").failed_with("login_required", "hint:")


def test_what_is_not_there_is_told(house: House, server: Server) -> None:
    for command in ("show", "wait", "cancel", "watch", "logs", "explain", "retry"):
        house.run("jobs", command, UNKNOWN).failed_with("unknown_job")
    comfyops("jobs", "explain", UNKNOWN, "--server", server.url).failed_with("unsupported", "no ComfyOps gateway")
    comfyops("jobs", "ls", "--batch", UNKNOWN, "--server", server.url).failed_with("unsupported")
    comfyops("queue", "stats", "--server", "http://127.0.0.1:9").failed_with("backend_unreachable")
    assert comfyops("jobs", "ls", "--json", "--server", server.url).data is not None


def test_a_render_that_was_killed_takes_its_panels_from_the_queue(tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(BOARD)
    home = tmp_path / "home"
    with simulated("--seconds-per-step", "0.7") as slow, gateway(home, "--backend", slow.url) as (data, _):
        at = House(data["url"], token(home, "ann"), "")
        render = ("storyboard", "render", "board.yaml", "-o", "out", "--json")
        variables = {"COMFYUI_URL": at.url, "COMFYOPS_TOKEN": at.operator}
        with started(*render, folder=tmp_path, variables=variables) as process:
            wait_until(lambda: len(at.data("jobs", "ls")) == 2)
            os.kill(process.pid, signal.SIGKILL)
            ended(process)
        assert not list((tmp_path / "out").glob("panels/*.png"))
        again = at.data(*render[:-1], folder=tmp_path)
        assert states(again) == {"first": "rendered", "second": "rendered"}
        assert [job["status"] for job in at.data("jobs", "ls")] == ["succeeded"] * 2, "no panel ran twice"


@pytest.mark.skipif(not WHOLE, reason="takes long; the panels above are found in the same way")
def test_a_run_with_a_key_goes_on_after_its_command_was_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with simulated("--seconds-per-step", "0.7") as slow, gateway(home, "--backend", slow.url) as (data, _):
        at = House(data["url"], token(home, "ann"), "")
        run = ("run", WORKFLOW, "--set", "steps=2", "-o", "out", "--key", "nightly")
        variables = {"COMFYUI_URL": at.url, "COMFYOPS_TOKEN": at.operator}
        with started(*run, folder=tmp_path, variables=variables) as process:
            wait_until(lambda: at.data("jobs", "ls"))
            os.kill(process.pid, signal.SIGKILL)
            ended(process)
        report = at.data(*run, folder=tmp_path)
        (job,) = at.data("jobs", "ls")
        assert (job["id"], job["status"]) == (report["run_id"], "succeeded")
        assert (tmp_path / report["outputs"][0]["path"]).is_file()
        other = at.data(*run, "--set", "seed=77", folder=tmp_path)
        assert other["run_id"] != report["run_id"], "another workflow is another run"


def test_who_watches_goes_on_while_the_gateway_is_killed_and_started_again(tmp_path: Path) -> None:
    home, port = tmp_path / "home", str(free_port())
    with simulated("--seconds-per-step", "1.5") as slow:
        options = ("--backend", slow.url, "--port", port)
        with gateway(home, *options) as (data, process):
            at = House(data["url"], token(home, "ann"), "")
            job = at.data("jobs", "submit", WORKFLOW, "--set", "steps=2")["id"]
            variables = {"COMFYUI_URL": at.url, "COMFYOPS_TOKEN": at.operator}
            with started("jobs", "watch", job, variables=variables) as watching:
                assert watching.stderr is not None
                said = watching.stderr.readline()  # it is connected
                process.kill()
                process.wait()
                with gateway(home, *options):
                    done = ended(watching)
                    saved = at.data("jobs", "wait", job, "-o", tmp_path / "out")["outputs"]
    assert said and done.code == 0 and "succeeded" in done.out and len(saved) == 1, done
