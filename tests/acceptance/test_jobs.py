"""Jobs of a server from the command line: several at once, one looked at, one waited for."""

from __future__ import annotations

from pathlib import Path

from comfyops.workflows import embedded
from tests.acceptance.processes import Server, comfyops
from tests.unit.doc_pages import ROOT

WORKFLOW = str(ROOT / "docs" / "examples" / "sdxl.json")


def test_several_runs_of_a_workflow_have_seeds_that_follow_each_other(server: Server, folder: Path) -> None:
    options = ("--count", "3", "--set", "seed=41", "--set", "steps=2", "--json", "--server", server.url, "-o", "out")
    runs = comfyops("run", WORKFLOW, *options, folder=folder).data["runs"]
    pictures = [folder / item["path"] for run in runs for item in run["outputs"]]
    graphs = [embedded.read(picture.read_bytes()) for picture in pictures]
    seeds = [node.inputs["seed"] for graph in graphs for node in graph.of_class("KSampler") if node.inputs]
    assert seeds == [41, 42, 43] and len(set(pictures)) == 3


def test_a_workflow_without_a_seed_is_not_repeated(server: Server, folder: Path) -> None:
    done = comfyops("run", "picture.json", "--count", "2", "--server", server.url, folder=folder)
    done.failed_with("usage", "seed", exit_code=2)


def test_a_submitted_job_is_shown_and_waited_for_by_another_command(server: Server, folder: Path) -> None:
    submitted = comfyops(
        "run", WORKFLOW, "--no-wait", "--set", "seed=7", "--json", "--server", server.url, folder=folder
    )
    run_id = submitted.data["run_id"]
    waited = comfyops("jobs", "wait", run_id, "--json", "--server", server.url, "-o", "later", folder=folder)
    assert (folder / waited.data["outputs"][0]["path"]).read_bytes().startswith(b"\x89PNG")
    shown = comfyops("jobs", "show", run_id, "--json", "--server", server.url, folder=folder).data
    assert shown["status"] == "success" and shown["outputs"][0]["kind"] == "image"


def test_a_job_that_nobody_knows_is_told(server: Server, folder: Path) -> None:
    unknown = "11111111-2222-4333-8444-555555555555"
    for verb in ("show", "wait"):
        comfyops("jobs", verb, unknown, "--server", server.url, folder=folder).failed_with("run_lost", unknown)
