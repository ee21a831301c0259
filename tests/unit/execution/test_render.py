"""Rendering storyboards: what is rendered, what is kept, and what a failure leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from comfyops import storyboard
from comfyops.backends.backend import Device, SystemStats
from comfyops.backends.events import Event, Output
from comfyops.errors import StoryboardError, UnreachableError, UsageError
from comfyops.execution import PanelState, PanelUpdate, RenderReport, provenance, records, render
from comfyops.storyboard.project import Project
from comfyops.testing.fakes import FakeBackend
from comfyops.workflows.graph import Graph
from comfyops.workflows.problems import Severity
from tests.unit.storyboard.boards import board
from tests.unit.storyboard.servers import server

FOUR = "- {id: a, prompt: one}\n- {id: b, prompt: two}\n- {id: c, prompt: three}\n- {id: d, prompt: four}"


def rendered(report: RenderReport) -> list[str]:
    return [item.placed.panel.id for item in report.panels if item.state is PanelState.RENDERED]


async def test_every_panel_gets_a_picture_with_its_record_beside_and_inside(tmp_path):
    backend = FakeBackend()
    report = await render(board(FOUR), backend, tmp_path)
    assert report.ok and rendered(report) == ["a", "b", "c", "d"] and len(backend.submitted) == 4
    for item in report.panels:
        assert item.picture == tmp_path / "panels" / f"{item.placed.panel.id}.png"
        beside = provenance.read(provenance.beside(item.picture))
        inside = provenance.read_picture(item.picture)
        assert beside == item.record
        assert beside.sha256 == hashlib.sha256(item.picture.read_bytes()).hexdigest()
        assert inside.sha256 == "" and inside.seed == beside.seed == item.plan.picture.seed
        assert beside.graph[item.plan.save_node]["class_type"] == "SaveImage"
        assert beside.backend == "fake://memory" and beside.models == ("sd_xl_base_1.0.safetensors",)
        assert beside.seconds >= 0 and beside.finished_at >= beside.submitted_at > 1_600_000_000


async def test_the_pixels_and_the_servers_own_texts_are_left_as_they_were(tmp_path):
    backend = FakeBackend()
    report = await render(board(FOUR), backend, tmp_path)
    given = {hashlib.sha256(data).hexdigest(): data for data in backend.files.values()}
    for item in report.panels:
        original = tmp_path / "original.png"
        original.write_bytes(given[item.record.sha256_received])
        with Image.open(item.picture) as ours, Image.open(original) as theirs:
            assert ours.tobytes() == theirs.tobytes()
            assert ours.text["simulated"] == theirs.text["simulated"]


async def test_a_second_run_renders_nothing(tmp_path):
    await render(board(FOUR), FakeBackend(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "panels").iterdir()}
    backend = FakeBackend()
    report = await render(board(FOUR), backend, tmp_path)
    assert report.ok and backend.submitted == [] and report.count(PanelState.KEPT) == 4
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "panels").iterdir()}


async def test_force_renders_everything_again(tmp_path):
    await render(board(FOUR), FakeBackend(), tmp_path)
    backend = FakeBackend()
    report = await render(board(FOUR), backend, tmp_path, force=True)
    assert rendered(report) == ["a", "b", "c", "d"] and len(backend.submitted) == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("two", "changed"),
        ("id: b,", "id: b, steps: 3,"),
        ("id: b,", "id: b, seed: 3,"),
        ("id: b,", "id: b, size: 512x512,"),
    ],
)
async def test_only_a_changed_panel_is_rendered_again(tmp_path, old, new):
    await render(board(FOUR), FakeBackend(), tmp_path)
    report = await render(board(FOUR.replace(old, new)), FakeBackend(), tmp_path)
    assert rendered(report) == ["b"] and report.ok


async def test_a_changed_caption_is_no_reason_to_render(tmp_path):
    await render(board(FOUR), FakeBackend(), tmp_path)
    report = await render(board(FOUR.replace("id: b,", "id: b, caption: Hello,")), FakeBackend(), tmp_path)
    assert rendered(report) == []


def _delete(picture: Path) -> None:
    picture.unlink()


def _alter(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")


def _delete_record(picture: Path) -> None:
    provenance.beside(picture).unlink()


def _damage_record(picture: Path) -> None:
    provenance.beside(picture).write_text('{"panel": "b"')


def _replace_record(picture: Path) -> None:
    provenance.beside(picture).write_bytes(provenance.beside(picture.with_name("a.png")).read_bytes())


@pytest.mark.parametrize("harm", [_delete, _alter, _delete_record, _damage_record, _replace_record])
async def test_a_panel_whose_files_were_harmed_is_rendered_again(tmp_path, harm):
    await render(board(FOUR), FakeBackend(), tmp_path)
    harm(tmp_path / "panels" / "b.png")
    report = await render(board(FOUR), FakeBackend(), tmp_path)
    assert rendered(report) == ["b"] and report.ok


async def test_a_changed_reference_picture_is_uploaded_and_rendered_again(tmp_path):
    picture = tmp_path / "pose.png"
    panels = "- {id: a, prompt: one}\n- {id: b, reference: {image: pose.png}}\n- {id: c, reference: {image: pose.png}}"
    Image.new("RGB", (64, 64), "teal").save(picture)
    backend = FakeBackend()
    report = await render(board(panels, folder=tmp_path), backend, tmp_path / "out")
    uploads = [path for folder, path in backend.files if folder == "input"]
    assert report.ok and len(uploads) == 1 and uploads[0].startswith("comfyops/pose-")
    assert report.panels[1].record.uploads == {"pose.png": hashlib.sha256(picture.read_bytes()).hexdigest()}
    loads = [
        graph.of_class("LoadImage")[0].inputs["image"] for graph in backend.submitted if graph.of_class("LoadImage")
    ]
    assert loads == uploads * 2
    Image.new("RGB", (64, 64), "red").save(picture)
    again = await render(board(panels, folder=tmp_path), FakeBackend(), tmp_path / "out")
    assert rendered(again) == ["b", "c"]


async def test_a_reference_that_is_no_picture_fails_its_panel_only(tmp_path):
    (tmp_path / "pose.png").write_text("no picture")
    panels = "- {id: a, prompt: one}\n- {id: b, reference: {image: pose.png}}"
    report = await render(board(panels, folder=tmp_path), FakeBackend(), tmp_path / "out")
    assert rendered(report) == ["a"] and "no picture that can be read" in report.panels[1].error.message


async def test_drawn_seeds_are_recorded_and_kept(tmp_path):
    project = board("- {id: a, seed: -1}\n- {id: b, seed: -1}")
    first = await render(project, FakeBackend(), tmp_path)
    seeds = [item.record.seed for item in first.panels]
    assert len(set(seeds)) == 2 and first.panels[0].record.seed_source == "drawn"
    again = await render(project, FakeBackend(), tmp_path)
    assert rendered(again) == [] and [item.record.seed for item in again.panels] == seeds
    elsewhere = await render(project, FakeBackend(), tmp_path / "other")
    assert [item.record.seed for item in elsewhere.panels] != seeds


async def test_a_failed_panel_does_not_stop_the_others_and_is_tried_again(tmp_path):
    panels = FOUR.replace("id: b,", "id: b, clip_skip: 2,").replace("id: c,", "id: c, sampler: eulr,")
    report = await render(board(panels), FakeBackend(fail_classes=("CLIPSetLastLayer",)), tmp_path)
    assert rendered(report) == ["a", "d"] and not report.ok
    failed = {item.placed.panel.id: item.error for item in report.panels if item.error}
    assert failed["b"].code == "run_failed" and failed["b"].facts["class_type"] == "CLIPSetLastLayer"
    assert failed["c"].code == "workflow_invalid" and failed["c"].facts["problems"][0].severity is Severity.ERROR
    assert "euler" in failed["c"].facts["problems"][0].suggestions
    again = await render(board(FOUR.replace("id: b,", "id: b, clip_skip: 2,")), FakeBackend(), tmp_path)
    assert rendered(again) == ["b", "c"] and again.ok


async def test_a_panel_that_the_server_has_no_model_for_fails_alone(tmp_path):
    types = server(checkpoints=["sd_xl_base_1.0.safetensors"])
    panels = "- {id: a, prompt: one}\n- {id: b, model: absent}\n- {id: c, prompt: three}"
    report = await render(board(panels), FakeBackend(types=types), tmp_path)
    assert rendered(report) == ["a", "c"] and report.panels[1].plan is None
    with pytest.raises(StoryboardError, match="the files of no model family"):
        await render(board(FOUR), FakeBackend(types=server()), tmp_path / "none")
    assert not (tmp_path / "none").exists()


class Leaving(FakeBackend):
    """A server that goes away after some runs."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self._left = runs

    async def run(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> AsyncIterator[Event]:
        if self._left == 0:
            raise UnreachableError("The server does not answer.")
        self._left -= 1
        async for event in super().run(graph, run_id=run_id, front=front):
            yield event


async def test_a_server_that_goes_away_ends_the_run_and_the_next_one_goes_on(tmp_path):
    report = await render(board(FOUR), Leaving(runs=2), tmp_path, parallel=1)
    assert [item.state for item in report.panels] == ["rendered", "rendered", "failed", "not tried"]
    assert report.html.is_file() and report.contact_sheet.is_file()
    again = await render(board(FOUR), FakeBackend(), tmp_path)
    assert rendered(again) == ["c", "d"] and again.ok


async def test_a_cached_answer_whose_file_is_gone_is_rendered_under_another_name(tmp_path):
    backend = FakeBackend()
    await render(board(FOUR), backend, tmp_path)
    backend.files.clear()
    report = await render(board(FOUR), backend, tmp_path, force=True)
    assert report.ok and rendered(report) == ["a", "b", "c", "d"]
    assert len(backend.submitted) == 12


async def test_a_restarted_server_is_asked_once_more(tmp_path):
    backend = FakeBackend(seconds_per_node=0.02)
    restarted = False

    def restart_once(update: PanelUpdate) -> None:
        nonlocal restarted
        if update.event is not None and not restarted:
            restarted = True
            backend.restart()

    report = await render(board("- id: a"), backend, tmp_path, on_update=restart_once)
    assert report.ok and restarted and len(backend.submitted) == 2


@pytest.mark.parametrize("parallel", [1, 2, 3])
async def test_so_many_panels_are_in_flight_at_once(tmp_path, parallel):
    running: set[str] = set()
    most = 0

    def count(update: PanelUpdate) -> None:
        nonlocal most
        (running.add if update.state is PanelState.RUNNING else running.discard)(update.panel)
        most = max(most, len(running))

    await render(board(FOUR), FakeBackend(), tmp_path, parallel=parallel, on_update=count)
    assert most == parallel


async def test_no_panel_in_flight_makes_no_sense(tmp_path):
    with pytest.raises(UsageError):
        await render(board(FOUR), FakeBackend(), tmp_path, parallel=0)


async def test_cancelling_cancels_the_runs_on_the_server_and_the_next_run_goes_on(tmp_path):
    backend = FakeBackend(seconds_per_node=0.03)
    done = asyncio.Event()

    def first(update: PanelUpdate) -> None:
        if update.state is PanelState.RENDERED:
            done.set()

    task = asyncio.create_task(render(board(FOUR), backend, tmp_path, on_update=first))
    await asyncio.wait_for(done.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend.queue() == ()
    assert {entry.state for entry in records.read(tmp_path).panels} == {PanelState.RENDERED, PanelState.WAITING}
    finished = {path.stem for path in (tmp_path / "panels").glob("*.png")}
    assert finished and finished != {"a", "b", "c", "d"}
    report = await render(board(FOUR), FakeBackend(), tmp_path)
    assert report.ok and set(rendered(report)) == {"a", "b", "c", "d"} - finished


def test_a_killed_process_leaves_nothing_half_done(tmp_path):
    code = textwrap.dedent(
        f"""
        import asyncio
        from pathlib import Path
        from comfyops import storyboard
        from comfyops.execution import render
        from comfyops.testing.fakes import FakeBackend
        asyncio.run(render(storyboard.demo(), FakeBackend(seconds_per_node=0.05), Path({str(tmp_path)!r}), parallel=1))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ})
    deadline = time.monotonic() + 60
    while not (tmp_path / "panels" / "lighthouse.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name for path in (tmp_path / "panels").glob("*.png")}
    assert before < {"lighthouse.png", "footprints.png", "meeting.png", "beam.png"}
    backend = FakeBackend()
    report = asyncio.run(render(storyboard.demo(), backend, tmp_path))
    assert report.ok and report.count(PanelState.KEPT) >= 1
    assert len(backend.submitted) == 4 - report.count(PanelState.KEPT)


class Simulating(FakeBackend):
    """Says that it is a simulator."""

    async def system_stats(self) -> SystemStats:
        stats = await super().system_stats()
        return SystemStats(stats.version, "", "", 0, 0, (Device("cuda:0 simulated GPU (comfyops)", "cuda", 0, 0),))


async def test_a_simulated_picture_is_kept_by_a_simulator_and_rendered_again_by_a_real_server(tmp_path):
    report = await render(board(FOUR), Simulating(), tmp_path)
    assert report.simulated and all(item.record.simulated for item in report.panels)
    assert "SIMULATED" in report.html.read_text()
    assert rendered(await render(board(FOUR), Simulating(), tmp_path)) == []
    real = await render(board(FOUR), FakeBackend(), tmp_path)
    assert len(rendered(real)) == 4 and "SIMULATED" not in real.html.read_text()
    assert rendered(await render(board(FOUR), Simulating(), tmp_path)) == []


class Damaging(FakeBackend):
    """Gives every picture cut short."""

    async def fetch(self, output: Output) -> bytes:
        return (await super().fetch(output))[:-20]


async def test_a_damaged_picture_is_a_failure_and_is_not_stored(tmp_path):
    report = await render(board("- id: a"), Damaging(), tmp_path)
    assert report.panels[0].error.code == "run_failed" and "damaged" in report.panels[0].error.message
    assert not list(tmp_path.rglob("a.*"))


async def test_the_record_of_a_run_can_be_read_back(tmp_path):
    report = await render(board(FOUR.replace("id: b,", "id: b, sampler: nope,")), FakeBackend(), tmp_path)
    record = records.read(tmp_path)
    assert [entry.state for entry in record.panels] == ["rendered", "failed", "rendered", "rendered"]
    assert record.panels[0].picture == "panels/a.png" and record.panels[0].seed == report.panels[0].record.seed
    assert record.panels[1].code == "workflow_invalid" and record.panels[1].error
    assert json.loads((tmp_path / "render.json").read_text())["project"] == "fox"


async def test_contact_sheet_and_report_show_every_panel(tmp_path):
    project: Project = storyboard.demo()
    report = await render(project, FakeBackend(), tmp_path)
    with Image.open(report.contact_sheet) as sheet:
        sheet.load()
        assert sheet.format == "PNG" and sheet.width > 1200 and sheet.height > 900
    page = report.html.read_text()
    for item in report.panels:
        assert str(item.record.seed) in page and item.placed.panel.caption in page
    assert page.count("data:image/jpeg;base64,") == 4


async def test_the_report_needs_no_other_file_and_escapes_what_people_wrote(tmp_path):
    panels = "- id: a\n  prompt: <script>alert('x')</script>\"&\n  caption: <b>bold</b>\n- {id: b, sampler: <i>}"
    report = await render(board(panels, extra="style: {prompt: <u>}"), FakeBackend(), tmp_path)
    page = report.html.read_text()
    assert not any(tag in page for tag in ("<script", "<b>", "<i>", "<u>"))
    assert "&lt;script&gt;" in page
    assert not any(word in page for word in ("http://www", "https://", 'src="/', "@import", "url("))


@pytest.mark.parametrize("count", [1, 2, 5, 13, 41])
async def test_a_contact_sheet_holds_any_number_of_panels(tmp_path, count):
    panels = "\n".join(
        f"- {{prompt: {number}, sampler: {'euler' if number % 3 else 'bad'}}}" for number in range(1, count + 1)
    )
    report = await render(board(panels), FakeBackend(), tmp_path)
    with Image.open(report.contact_sheet) as sheet:
        sheet.verify()
    assert len(report.panels) == count
