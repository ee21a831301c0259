"""Running one graph: events, files, failures, and leaving nothing running behind."""

from __future__ import annotations

import asyncio

import pytest

from comfyops.backends.events import Event, Finished, Output, OutputKind, Queued
from comfyops.errors import (
    InvalidWorkflowError,
    OutputGoneError,
    RunFailedError,
    RunInterruptedError,
    RunLostError,
    UnsafeNameError,
    WaitTimeoutError,
)
from comfyops.execution import outputs, run
from comfyops.testing import graphs
from comfyops.testing.fakes import FakeBackend
from comfyops.workflows.graph import GraphBuilder


async def until_running(backend: FakeBackend) -> str:
    async with asyncio.timeout(20):
        while True:
            for entry in await backend.queue():
                if entry.running:
                    return entry.run_id
            await asyncio.sleep(0.001)


async def test_outputs_become_files_and_events_are_told(tmp_path):
    told: list[Event] = []
    report = await run(graphs.picture(), FakeBackend(), tmp_path, on_event=told.append)
    assert isinstance(told[0], Queued) and isinstance(told[-1], Finished)
    assert [item.path.suffix for item in report.outputs] == [".png"]
    assert report.outputs[0].path.is_relative_to(tmp_path) and report.seconds > 0 and not report.cached
    assert list(tmp_path.iterdir()) == [report.outputs[0].path]


async def test_a_text_becomes_a_text_file(tmp_path):
    report = await run(graphs.words("hello\nthere"), FakeBackend(), tmp_path)
    assert report.outputs[0].path == tmp_path / "node-2.txt"
    assert report.outputs[0].path.read_text() == "hello\nthere"


async def test_a_graph_that_a_server_would_refuse_or_half_run_is_not_submitted(tmp_path):
    backend = FakeBackend()
    for graph in (graphs.bad(), graphs.half_bad()):
        with pytest.raises(InvalidWorkflowError) as caught:
            await run(graph, backend, tmp_path)
        assert caught.value.facts["problems"]
    assert backend.submitted == [] and not list(tmp_path.iterdir())


async def test_the_good_half_of_a_graph_runs_when_it_is_not_checked(tmp_path):
    report = await run(graphs.half_bad(), FakeBackend(), tmp_path, check=False)
    assert len(report.outputs) == 1


async def test_a_failed_run_is_an_error_that_names_the_node_and_keeps_what_was_made(tmp_path):
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, height=16, batch_size=1, color=1)
    build.add("SaveImage", images=image[0], filename_prefix="kept")
    inverted = build.add("ImageInvert", image=image[0])
    build.add("SaveImage", images=inverted[0], filename_prefix="never")
    with pytest.raises(RunFailedError, match=r"Node 3 \(ImageInvert\) failed: This node was told to fail\.") as caught:
        await run(build.build(), FakeBackend(fail_classes=("ImageInvert",)), tmp_path)
    assert [path.name.split("_")[0] for path in tmp_path.iterdir()] == ["kept"]
    assert caught.value.facts["outputs"] == [str(path) for path in tmp_path.iterdir()]


async def test_cancelling_cancels_the_run_on_the_server(tmp_path):
    backend = FakeBackend(seconds_per_node=5)
    task = asyncio.create_task(run(graphs.slow(), backend, tmp_path))
    await until_running(backend)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend.queue() == ()


async def test_a_run_that_takes_too_long_goes_on_at_the_server(tmp_path):
    backend = FakeBackend(seconds_per_node=0.2)
    with pytest.raises(WaitTimeoutError) as caught:
        await run(graphs.slow(), backend, tmp_path, timeout=0.1)
    assert [entry.run_id for entry in await backend.queue()] == [caught.value.facts["run_id"]]
    assert await backend.cancel(caught.value.facts["run_id"])


async def test_a_run_that_somebody_interrupts_is_an_error(tmp_path):
    backend = FakeBackend(seconds_per_node=5)
    task = asyncio.create_task(run(graphs.slow(), backend, tmp_path))
    await backend.cancel(await until_running(backend))
    with pytest.raises(RunInterruptedError):
        await task


async def test_a_run_that_the_server_forgets_is_an_error(tmp_path):
    backend = FakeBackend(seconds_per_node=5)
    task = asyncio.create_task(run(graphs.slow(), backend, tmp_path))
    await until_running(backend)
    backend.restart()
    with pytest.raises(RunLostError):
        await task


def picture(name: str, subfolder: str = "") -> Output:
    return Output("9", OutputKind.IMAGE, name, subfolder)


async def test_a_file_with_other_content_is_never_written_over(tmp_path):
    backend = FakeBackend()
    backend.files["output", "a.png"] = b"new"
    (tmp_path / "a.png").write_bytes(b"old")
    (tmp_path / "a-2.png").mkdir()
    for _ in range(2):
        saved = await outputs.save(backend, [picture("a.png")], tmp_path)
        assert saved[0].path == tmp_path / "a-3.png" and saved[0].path.read_bytes() == b"new"
    assert (tmp_path / "a.png").read_bytes() == b"old"


async def test_two_outputs_of_one_name_become_two_files_in_their_order(tmp_path):
    backend = FakeBackend()
    backend.files["output", "a.png"] = b"one"
    backend.files["temp", "a.png"] = b"two"
    both = [picture("a.png"), Output("8", OutputKind.IMAGE, "a.png", folder_type="temp")]
    saved = await outputs.save(backend, both, tmp_path)
    assert [item.path.name for item in saved] == ["a.png", "a-2.png"]
    assert [item.path.read_bytes() for item in saved] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("name", "subfolder"), [("../a.png", ""), ("a.png", ".."), ("c:a.png", ""), ("a.png", "x/../../y"), ("NUL", "")]
)
async def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, name, subfolder):
    backend = FakeBackend()
    backend.files["output", "good.png"] = b"x"
    with pytest.raises(UnsafeNameError):
        await outputs.save(backend, [picture("good.png"), picture(name, subfolder)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_an_output_that_is_gone_leaves_no_part_of_a_file(tmp_path):
    with pytest.raises(OutputGoneError):
        await outputs.save(FakeBackend(), [picture("gone.png")], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("subfolder", "expected"),
    [
        ("jobs/2aca716d-14a3-4d24-986c-4767d7b50ca0", ""),
        ("jobs/2aca716d-14a3-4d24-986c-4767d7b50ca0/x", "x"),
        ("jobs/x",) * 2,
    ],
)
async def test_the_folder_that_a_gateway_names_after_a_job_is_left_out(tmp_path, subfolder, expected):
    backend = FakeBackend()
    backend.files["output", f"{subfolder}/a.png"] = b"one"
    saved = await outputs.save(backend, [picture("a.png", subfolder)], tmp_path)
    assert saved[0].path == tmp_path / expected / "a.png"
