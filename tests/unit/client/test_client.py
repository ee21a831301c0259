"""The client of a gateway's jobs, over the real API with a simulated backend, and over ways that break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import test_utils, web

import comfyops
from comfyops.client import Blocking, Client
from comfyops.client.handles import raise_unless_succeeded
from comfyops.client.hashing import file_hash
from comfyops.errors import (
    BackendError,
    DuplicateKeyError,
    JobStateError,
    NoBackendError,
    RunFailedError,
    RunInterruptedError,
    UnknownAssetError,
    UnknownJobError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    WaitTimeoutError,
)
from comfyops.simulator import Faults, Simulator, SimulatorSettings
from tests.unit.api.rig import Rig, picture, rig
from tests.unit.client.way import Way


@asynccontextmanager
async def clients(tmp_path: Path, *, patience: float = 20.0, **options: Any) -> AsyncIterator[tuple[Client, Rig, Way]]:
    """A client, the API it talks to, and the way between them."""
    async with rig(tmp_path, **options) as at, Way(at.url) as way, Client(way.url, patience=patience) as client:
        yield client, at, way


async def test_a_job_is_submitted_awaited_and_its_outputs_fetched_and_checked(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, _):
        handle = await client.submit(picture(), name="cat", labels={"order": "17"}, delay=timedelta(0))
        job = await handle.wait(60)
        assert (job.status, job.name, job.metadata, job.over) == ("succeeded", "cat", {"order": "17"}, True)
        (saved,) = await handle.download(tmp_path / "out")
        assert saved.verified and saved.path.read_bytes().startswith(b"\x89PNG")
        assert (await handle.download(tmp_path / "out"))[0].path == saved.path, "the same content stays"
        (output,) = await handle.outputs()
        assert output.hash == f"blake3:{file_hash(saved.path)}" and output.size_bytes == saved.path.stat().st_size
        assert [item.id async for item in client.jobs(labels={"order": "17"})] == [handle.id]
        assert (await handle.workflow())["6"]["class_type"] == "SaveImage"
        assert (await client.health()).status == "healthy"


async def test_a_file_of_that_name_with_other_content_is_left_alone(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, _):
        handle = await client.submit(picture())
        (output,) = (await handle.wait(60)).outputs
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / output.name).write_text("mine")
        (saved,) = await handle.download(tmp_path / "out")
        assert saved.path.name != output.name and (tmp_path / "out" / output.name).read_text() == "mine"
        assert len(list((tmp_path / "out").iterdir())) == 2


async def test_events_tell_every_output_once_and_end_with_the_status_that_counts(tmp_path: Path) -> None:
    async with clients(tmp_path, seconds_per_step=0.02) as (client, _, _):
        handle = await client.submit(picture(steps=8))
        events = [event async for event in handle.events()]
    assert [event.type for event in events].count("output") == 1
    assert (events[-1].type, events[-1].status) == ("status", "succeeded")
    values = [event.progress.value for event in events if event.progress]
    assert values == sorted(values) and values[-1] == 1.0


async def test_events_go_on_where_the_connection_breaks(tmp_path: Path) -> None:
    async with clients(tmp_path, seconds_per_step=0.05) as (client, _, way):
        handle = await client.submit(picture(steps=20))
        way.cuts = [300, 1, 700, 0, 400]  # bytes of answers that still come
        events = []
        async for event in handle.events():
            events.append(event)
            if len(events) == 2:
                way.shut = True
                way.cut()
                asyncio.get_running_loop().call_later(0.5, setattr, way, "shut", False)
    assert [event.type for event in events].count("output") == 1
    assert events[-1].status == "succeeded" and way.connections > 4


async def test_a_submission_whose_answer_is_lost_is_one_job(tmp_path: Path) -> None:
    async with clients(tmp_path, dispatch=False) as (client, at, way):
        way.cuts = [1, 20]
        handle = await client.submit(picture())
        assert handle.replayed is False and way.connections >= 3
        assert [job.id for job in (await at.queue.ls()).jobs] == [handle.id]


async def test_a_key_is_one_job_for_whoever_comes_again(tmp_path: Path) -> None:
    async with clients(tmp_path, dispatch=False) as (client, _, _):
        first = await client.submit(picture(), idempotency_key="order-17")
        again = await client.submit(picture(), idempotency_key="order-17")
        assert (again.id, again.replayed, first.replayed) == (first.id, True, False)
        with pytest.raises(DuplicateKeyError):
            await client.submit(picture(2), idempotency_key="order-17")
        other = await client.submit(picture())
        assert other.id != first.id


async def test_a_gateway_that_stays_away_is_said_to(tmp_path: Path) -> None:
    async with clients(tmp_path, patience=0.3, dispatch=False) as (client, _, way):
        handle = await client.submit(picture())
        way.shut = True
        way.cut()
        for work in (client.submit(picture()), handle.wait(30), handle.look()):
            with pytest.raises(UnreachableError):
                await work


async def test_a_file_is_gone_on_with_where_the_connection_broke(tmp_path: Path) -> None:
    async with clients(tmp_path, dispatch=False) as (client, at, way):
        data = bytes(range(256)) * 20_000
        job = await _job_with_output(at, data)
        outputs = await client.job(job).outputs()
        way.cuts = [0, 2_000_000, 1_500_000]
        way.cut()
        (saved,) = await client.job(job).download(tmp_path / "out")
        assert saved.path.read_bytes() == data and saved.verified and outputs[0].size_bytes == len(data)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [outputs[0].name]


async def _job_with_output(at: Rig, data: bytes) -> str:
    """A job whose record says that it made these bytes."""
    from sqlalchemy import insert, update

    from comfyops.jobs import schema

    job = (await at.submit())["id"]
    source = at.queue.folder / "made.bin"
    source.write_bytes(data)
    kept = await at.queue.files.copy(source)
    asset = await at.queue.assets.add("ann", kept, "made.bin", "application/octet-stream")
    columns = schema.outputs.c.keys()

    def write(tx: Any) -> None:
        known = {
            "id": asset.id, "job": job, "node": "6", "index": 0, "kind": "file", "filename": "made.bin",
            "subfolder": "", "type": "output", "folder_type": "output", "hash": kept.hash, "sha256": kept.sha256,
            "size": len(data), "mime": "application/octet-stream", "text": "",
        }  # fmt: skip
        tx.execute(insert(schema.outputs).values(**{key: value for key, value in known.items() if key in columns}))
        tx.execute(update(schema.jobs).where(schema.jobs.c.id == job).values(outputs_count=1))

    await at.queue.store.write(write)
    return str(job)


async def test_bytes_that_the_gateway_has_are_not_sent_again(tmp_path: Path) -> None:
    async with clients(tmp_path, dispatch=False) as (client, _, _):
        file = tmp_path / "picture.bin"
        file.write_bytes(b"x" * 100_000)
        first, again = await client.upload(file), await client.upload(file, name="sub/other.bin")
        assert first.created_new and not again.created_new and first.hash == again.hash
        assert again.file_path == "sub/other.bin"
        with pytest.raises(UsageError):
            await client.upload(b"bytes")


async def test_a_job_takes_the_output_of_another(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, _):
        first = await client.submit(picture())
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": first.output(0)}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "again"}},
        }
        second = await client.submit(graph)
        assert (await second.wait(60)).status == "succeeded" and (await first.look()).status == "succeeded"


async def test_a_batch_that_cannot_be_is_told(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, _):
        with pytest.raises(UsageError):
            await client.batch(picture(), seeds=[])
        with pytest.raises(UsageError):
            await client.batch(picture(), seeds=[1], table=[{"seed": 1}])
        with pytest.raises(UnknownJobError):
            await client.get_batch("11111111-2222-4333-8444-555555555555")


async def test_jobs_are_canceled_retried_explained_and_their_log_read(tmp_path: Path) -> None:
    async with clients(tmp_path, seconds_per_step=5.0) as (client, _, _):
        handle = await client.submit(picture(steps=50))
        async for event in handle.events():
            if event.status == "running":
                break
        with pytest.raises(WaitTimeoutError):
            await handle.wait(0.2)
        with pytest.raises(JobStateError):
            await handle.set_priority(1)
        canceled = await handle.cancel()
        assert canceled.status == "canceled"
        with pytest.raises(RunInterruptedError):
            raise_unless_succeeded(canceled)
        explained = await handle.explain()
        assert explained.attempts[0].outcome == "cancelled" and explained.decisions[0].backend
        assert (await handle.log())[-1].data["state"] == "cancelled"
        assert not (await handle.retry()).over
        await handle.cancel()
        await handle.delete()
        with pytest.raises(UnknownJobError):
            await handle.look()


async def test_a_failed_job_says_why(tmp_path: Path) -> None:
    async with clients(tmp_path, faults=Faults(fail_class="KSampler")) as (client, _, _):
        job = await (await client.submit(picture())).wait(60)
        assert job.status == "failed" and job.error and job.error.node_id == "4"
        with pytest.raises(RunFailedError, match=r"Node 4 \(KSampler\)"):
            raise_unless_succeeded(job)


async def test_what_is_refused_is_an_error_of_ours(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, at, _):
        while not await at.queue.fleet.offers():  # noqa: ASYNC110  (the dispatcher looks at it in its own time)
            await asyncio.sleep(0.02)
        with pytest.raises(NoBackendError):
            await client.submit({"1": {"class_type": "NoSuchNode", "inputs": {}}})
        with pytest.raises(UsageError):
            await client.submit(picture(), priority=10**9)
        with pytest.raises(UnknownJobError):
            await client.job("nothing").look()
        with pytest.raises(UnknownAssetError):
            await client._http.ask("GET", "/api/v2/assets/11111111-2222-4333-8444-555555555555")


async def test_a_plain_server_is_said_to_be_none_that_keeps_jobs() -> None:
    async with Simulator(SimulatorSettings(port=0)) as simulator, Client(simulator.url) as client:
        with pytest.raises(UnsupportedError, match="no ComfyOps gateway"):
            await client.health()


@pytest.mark.parametrize(
    "answer", ["[]", "{}", '{"id": 1}', '{"jobs": [1]}', '{"jobs": {}}', "null", "nonsense", "", "[[["]
)
async def test_answers_that_no_gateway_gives_are_errors_of_ours(answer: str) -> None:
    async def always(request: web.Request) -> web.Response:
        return web.Response(text=answer, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", always)
    async with test_utils.TestServer(app) as server, Client(str(server.make_url("/")), patience=0) as client:
        job = client.job("11111111-2222-4333-8444-555555555555")
        asked = (client.submit(picture()), client.page(), job.look(), job.explain(), job.log(), client.health())
        for work in (*asked, client.operators.backends(), client.operators.stats(), client.upload(b"x", name="x")):
            with pytest.raises(BackendError):
                await work


async def test_programs_without_a_loop_have_one_doorway(tmp_path: Path) -> None:
    async with rig(tmp_path) as at:
        assert comfyops.Client is Client and comfyops.Blocking is Blocking

        def program() -> tuple[str, list[str], int]:
            with Blocking() as door:
                client = door.enter(Client(at.url))
                handle = door.run(client.submit(picture()))
                statuses = [event.status for event in door.each(handle.events()) if event.status]
                first = next(door.each(client.jobs()))
                files = door.run(handle.download(tmp_path / "out"))
            with pytest.raises(UsageError):
                door.run(handle.look())
            return first.id, statuses, len(files)

        found, statuses, files = await asyncio.to_thread(program)
        assert found and statuses[-1] == "succeeded" and files == 1


async def test_stopping_early_closes_what_is_iterated_over(tmp_path: Path) -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    def program() -> int:
        with Blocking() as door, contextlib.closing(door.each(numbers())) as items:  # type: ignore[type-var]
            return next(items)

    assert await asyncio.to_thread(program) == 0 and closed == [True]
