"""What every backend must do, as tests. Subclass `BackendContract` and give it a fixture `backend`.

The graphs need no model files, so the same tests run on fakes, on the simulator and on a real server, also on one that
others use at the same time.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.backends.events import Event, Finished, NodeFinished, Outcome, Output, OutputKind, Queued
from comfyops.errors import OutputGoneError, RejectedError, RunLostError, UnsafeNameError, UsageError
from comfyops.testing import graphs
from comfyops.workflows.graph import Graph


def png(color: str = "red", size: int = 16, mode: str = "RGB") -> bytes:
    """A plain picture as PNG."""
    buffer = io.BytesIO()
    Image.new(mode, (size, size), color).save(buffer, "PNG")
    return buffer.getvalue()


async def run(backend: Backend, graph: Graph) -> tuple[list[Event], Finished]:
    """All events of a run, and the last one."""
    events = [event async for event in backend.run(graph)]
    return events, _end(events)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is on a server
            await asyncio.sleep(0.02)


async def _is_running(backend: Backend, run_id: str) -> bool:
    return any(entry.run_id == run_id and entry.running for entry in await backend.queue())


async def _collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _end(events: list[Event]) -> Finished:
    ends = [event for event in events if isinstance(event, Finished)]
    assert len(ends) == 1 and events[-1] is ends[0]
    return ends[0]


class BackendContract:
    """The tests. The fixture `backend` gives a fresh, usable backend of node facts 0.8 or later."""

    async def test_a_run_tells_its_events_in_order_and_its_picture_can_be_fetched(self, backend: Backend) -> None:
        events, end = await run(backend, graphs.picture())
        assert isinstance(events[0], Queued)
        assert [event.node for event in events if isinstance(event, NodeFinished)] == ["2"]
        assert end.outcome is Outcome.SUCCESS and not end.cached and end.failure is None
        (output,) = end.outputs
        assert output.kind is OutputKind.IMAGE and output.node == "2" and output.folder_type == "output"
        assert Image.open(io.BytesIO(await backend.fetch(output))).size == (16, 16)

    async def test_an_output_is_written_to_a_file(self, backend: Backend, tmp_path: Path) -> None:
        _, end = await run(backend, graphs.picture())
        path = tmp_path / "new folder" / "picture.png"
        await backend.fetch_to(end.outputs[0], path)
        assert path.read_bytes() == await backend.fetch(end.outputs[0])
        assert _names(path.parent) == ["picture.png"]

    async def test_the_same_graph_again_is_told_to_come_from_the_cache_with_the_old_file(
        self, backend: Backend
    ) -> None:
        graph = graphs.picture()
        _, first = await run(backend, graph)
        _, second = await run(backend, graph)
        assert second.cached and second.outcome is Outcome.SUCCESS
        assert second.outputs == first.outputs

    async def test_text_is_an_output_too(self, backend: Backend) -> None:
        text = f"grün {uuid4()}"
        _, end = await run(backend, graphs.words(text))
        (output,) = end.outputs
        assert output.kind is OutputKind.TEXT and output.text == text
        assert await backend.fetch(output) == text.encode()

    async def test_a_bad_graph_is_rejected_with_the_faulty_node_and_input(self, backend: Backend) -> None:
        with pytest.raises(RejectedError) as caught:
            await backend.submit(graphs.bad())
        (fault,) = caught.value.facts["node_errors"]
        assert (fault["node"], fault["input"], fault["code"]) == ("1", "height", "required_input_missing")
        assert caught.value.message.endswith(".") and "\n" not in caught.value.message

    async def test_an_unknown_class_is_rejected(self, backend: Backend) -> None:
        graph = graphs.picture()
        broken = Graph({"1": graph["1"].__class__("1", "NoSuchNodeAnywhere", {}), "2": graph["2"]})
        with pytest.raises(RejectedError, match="NoSuchNodeAnywhere"):
            await backend.submit(broken)

    async def test_a_partly_bad_graph_runs_and_tells_what_was_dropped(self, backend: Backend) -> None:
        queued = await backend.submit(graphs.half_bad())
        assert queued.dropped_outputs == ("3",)
        assert [fault.node for fault in queued.faults] == ["3"]
        end = _end(await _collect(backend.watch(queued.run_id)))
        assert end.outcome is Outcome.SUCCESS and {output.node for output in end.outputs} == {"2"}

    async def test_submitting_the_same_id_again_runs_it_once(self, backend: Backend) -> None:
        run_id, graph = str(uuid4()), graphs.picture()
        first, second = await asyncio.gather(*(backend.submit(graph, run_id=run_id) for _ in range(2)))
        assert first.run_id == second.run_id == run_id
        assert first.number == second.number
        await _collect(backend.watch(run_id))
        assert (await backend.submit(graph, run_id=run_id)).number == first.number
        assert await backend.result(run_id) is not None
        assert all(entry.run_id != run_id for entry in await backend.queue())

    @pytest.mark.parametrize(
        "run_id", ["42", "", "838DCE67-FFBC-4519-8958-182150876E89", "838dce67ffbc45198958182150876e89"]
    )
    async def test_an_id_that_is_no_canonical_uuid_is_refused_before_it_is_sent(
        self, backend: Backend, run_id: str
    ) -> None:
        with pytest.raises(UsageError):
            await backend.submit(graphs.picture(), run_id=run_id)

    async def test_a_run_that_is_over_can_still_be_watched(self, backend: Backend) -> None:
        _, end = await run(backend, graphs.picture())
        assert await _collect(backend.watch(end.run_id)) == [end]
        assert await backend.result(end.run_id) == end

    async def test_two_watchers_of_one_run_both_see_its_end(self, backend: Backend) -> None:
        queued = await backend.submit(graphs.slow(2))
        first, second = await asyncio.gather(*(_collect(backend.watch(queued.run_id)) for _ in range(2)))
        assert _end(first) == _end(second)

    async def test_a_run_that_the_server_does_not_know_is_lost(self, backend: Backend) -> None:
        for ask in (backend.result, lambda run_id: _collect(backend.watch(run_id))):
            with pytest.raises(RunLostError):
                await ask(str(uuid4()))

    async def test_a_failing_node_is_named_with_its_class_and_reason(self, backend: Backend) -> None:
        name = await backend.upload_image(f"{uuid4()}.png", b"this is no picture")
        _, end = await run(backend, graphs.load(name))
        assert end.outcome is Outcome.FAILED and end.failure is not None
        assert (end.failure.node, end.failure.class_type) == ("1", "LoadImage")
        assert end.failure.message and end.failure.exception_type

    async def test_cancelling_a_running_run_interrupts_it(self, backend: Backend) -> None:
        queued = await backend.submit(graphs.slow())
        await until(lambda: _is_running(backend, queued.run_id))
        assert await backend.cancel(queued.run_id)
        assert _end(await _collect(backend.watch(queued.run_id))).outcome is Outcome.INTERRUPTED
        assert not await backend.cancel(queued.run_id)

    async def test_cancelling_a_pending_run_takes_it_from_the_queue(self, backend: Backend) -> None:
        first, second = await backend.submit(graphs.slow()), await backend.submit(graphs.slow())
        assert await backend.cancel(second.run_id)
        assert all(entry.run_id != second.run_id for entry in await backend.queue())
        assert _end(await _collect(backend.watch(second.run_id))).outcome is Outcome.INTERRUPTED
        assert await backend.cancel(first.run_id)

    async def test_cancelling_an_unknown_run_does_nothing(self, backend: Backend) -> None:
        assert not await backend.cancel(str(uuid4()))

    async def test_the_queue_is_in_running_order_and_front_goes_first(self, backend: Backend) -> None:
        head = await backend.submit(graphs.slow())
        await until(lambda: _is_running(backend, head.run_id))
        later = [await backend.submit(graphs.picture()) for _ in range(3)]
        front = await backend.submit(graphs.picture(), front=True)
        ours = {entry.run_id for entry in (head, front, *later)}
        order = [entry.run_id for entry in await backend.queue() if entry.run_id in ours]
        assert order == [entry.run_id for entry in (head, front, *later)]
        await asyncio.gather(*(backend.cancel(run_id) for run_id in order))

    async def test_jobs_are_listed_newest_first_and_no_more_than_asked(self, backend: Backend) -> None:
        ids = [(await run(backend, graphs.picture()))[1].run_id for _ in range(3)]
        listed = [job.run_id for job in await backend.jobs(1000)]
        assert [run_id for run_id in listed if run_id in ids] == ids[::-1]
        assert len(await backend.jobs(2)) == 2
        assert {job.status for job in await backend.jobs(1000) if job.run_id in ids} == {"completed"}

    async def test_an_uploaded_picture_can_be_loaded(self, backend: Backend) -> None:
        name = await backend.upload_image(f"a b ü {uuid4()}.png", png(size=24))
        _, end = await run(backend, graphs.load(name))
        assert end.outcome is Outcome.SUCCESS
        assert Image.open(io.BytesIO(await backend.fetch(end.outputs[0]))).size == (24, 24)

    async def test_a_file_is_uploaded_from_where_it_lies(self, backend: Backend, tmp_path: Path) -> None:
        path = tmp_path / "large.bin"
        path.write_bytes(random.randbytes(3_000_000))
        name = await backend.upload_image(f"{uuid4()}.png", path, subfolder="comfyops-test")
        folder, _, filename = name.rpartition("/")
        assert await backend.fetch(Output("", OutputKind.IMAGE, filename, folder, "input")) == path.read_bytes()

    async def test_an_upload_under_a_taken_name_gets_a_name_of_its_own(self, backend: Backend) -> None:
        name = f"{uuid4()}.png"
        assert await backend.upload_image(name, png("red")) == name
        assert await backend.upload_image(name, png("red")) == name
        other = await backend.upload_image(name, png("blue"))
        assert other != name
        assert await backend.upload_image(name, png("blue"), overwrite=True) == name
        assert await backend.fetch(Output("", OutputKind.IMAGE, name, "", "input")) == png("blue")

    async def test_an_upload_into_a_subfolder_returns_the_name_with_the_folder(self, backend: Backend) -> None:
        name = f"{uuid4()}.png"
        assert await backend.upload_image(name, png(), subfolder="comfyops test/a") == f"comfyops test/a/{name}"
        _, end = await run(backend, graphs.load(f"comfyops test/a/{name}"))
        assert end.outcome is Outcome.SUCCESS

    @pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "", "a/b.png", "..", "con.png"])
    async def test_an_upload_name_that_is_no_plain_name_is_refused(self, backend: Backend, name: str) -> None:
        with pytest.raises(UnsafeNameError):
            await backend.upload_image(name, png())

    async def test_a_mask_is_stored_with_the_picture_it_belongs_to(self, backend: Backend) -> None:
        name = await backend.upload_image(f"{uuid4()}.png", png("red"))
        original = Output("", OutputKind.IMAGE, name, "", "input")
        mask = await backend.upload_mask(f"{uuid4()}.png", png("#00000040", mode="RGBA"), original)
        saved = await backend.fetch(Output("", OutputKind.IMAGE, mask, "", "input"))
        assert Image.open(io.BytesIO(saved)).getpixel((0, 0)) == (255, 0, 0, 64)

    async def test_a_mask_for_a_picture_that_is_not_there_is_an_error(self, backend: Backend) -> None:
        original = Output("", OutputKind.IMAGE, f"{uuid4()}.png", "", "input")
        with pytest.raises(OutputGoneError):
            await backend.upload_mask(f"{uuid4()}.png", png("#00000040", mode="RGBA"), original)

    async def test_a_file_that_is_gone_is_told_as_gone_and_nothing_is_written(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        for name in (f"{uuid4()}.png", "../../x.png"):
            output = Output("2", OutputKind.IMAGE, name)
            with pytest.raises(OutputGoneError):
                await backend.fetch(output)
            with pytest.raises(OutputGoneError):
                await backend.fetch_to(output, tmp_path / "x.png")
        assert not _names(tmp_path)

    async def test_node_types_are_those_of_the_server_version(self, backend: Backend) -> None:
        types = await backend.node_types()
        assert types.version == (await backend.system_stats()).version != ""
        assert types["SaveImage"].is_output and not types["EmptyImage"].is_output
        assert await backend.node_types() is types
        assert await backend.node_types(refresh=True) is not types

    async def test_free_makes_the_server_forget_its_cached_results(self, backend: Backend) -> None:
        graph = graphs.picture()
        await run(backend, graph)
        await backend.free()

        async def not_cached() -> bool:
            return not (await run(backend, graph))[1].cached

        await until(not_cached)
