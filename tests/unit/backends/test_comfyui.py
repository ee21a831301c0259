"""Cancelling, jobs, node types, files: what the client does around a run."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Outcome, Output, OutputKind
from comfyops.errors import (
    NotComfyUIError,
    OutputGoneError,
    RejectedError,
    RunLostError,
    StorageError,
    UnreachableError,
    WaitTimeoutError,
)
from comfyops.testing import graphs
from comfyops.workflows.node_types import shipped
from tests.unit.backends.scripted import QUICK, Follower, answer, break_off

IMAGE = Output("2", OutputKind.IMAGE, "a.png")


async def submit(server, client, *, running):
    run_id = (await client.submit(graphs.picture(1))).run_id
    if running:
        server.start_run(run_id)
    return run_id


def interrupting(server, run_id):
    async def reply(request):
        server.finish(run_id)
        messages = [["execution_start", {}], ["execution_interrupted", {"node_id": "1"}]]
        server.history[run_id]["status"] = {"status_str": "error", "completed": False, "messages": messages}
        return web.json_response({"cancelled": True})

    return reply


async def test_cancel_uses_the_jobs_route_where_there_is_one(server, client):
    run_id = await submit(server, client, running=True)
    server.replies["POST", f"/api/jobs/{run_id}/cancel"] = interrupting(server, run_id)
    assert await client.cancel(run_id)
    assert server.paths("POST") == ["/prompt", f"/api/jobs/{run_id}/cancel"]
    assert (await Follower(client.watch(run_id)).end()).outcome is Outcome.INTERRUPTED


async def test_cancel_interrupts_only_this_run_where_there_is_no_jobs_route(server, client):
    run_id = await submit(server, client, running=True)
    bodies = []

    async def interrupt(request):
        bodies.append(await request.json())
        return await interrupting(server, run_id)(request)

    server.replies["POST", "/interrupt"] = interrupt
    assert await client.cancel(run_id)
    assert bodies == [{"prompt_id": run_id}]


async def test_cancel_deletes_a_pending_run_and_its_watch_ends_as_interrupted(server, client):
    run_id = await submit(server, client, running=False)
    follower = Follower(client.watch(run_id))

    async def delete(request):
        assert await request.json() == {"delete": [run_id]}
        server.pending = []
        return web.Response()

    server.replies["POST", "/queue"] = delete
    assert await client.cancel(run_id)
    assert (await follower.end()).outcome is Outcome.INTERRUPTED
    assert (await client.result(run_id)).outcome is Outcome.INTERRUPTED
    assert "/interrupt" not in server.paths("POST")


async def test_cancel_asks_again_when_a_pending_run_starts_in_between(server, client):
    run_id = await submit(server, client, running=False)

    async def too_late(request):
        server.start_run(run_id)
        return web.Response()

    server.replies["POST", "/queue"] = too_late
    server.replies["POST", "/interrupt"] = interrupting(server, run_id)
    assert await client.cancel(run_id)


async def test_a_run_that_ends_by_itself_meanwhile_was_not_cancelled(server, client):
    run_id = await submit(server, client, running=True)

    async def finished_first(request):
        server.finish(run_id)
        return web.Response()

    server.replies["POST", "/interrupt"] = finished_first
    assert not await client.cancel(run_id)


async def test_a_cancel_that_has_no_effect_is_told(server):
    async with ComfyUI(server.url, pace=replace(QUICK, stop=0.3)) as client:
        run_id = await submit(server, client, running=True)
        server.replies["POST", "/interrupt"] = answer()
        with pytest.raises(WaitTimeoutError):
            await client.cancel(run_id)


async def test_a_server_without_jobs_api_is_asked_for_a_part_of_its_history_only(server, client):
    queries = []

    async def history(request):
        queries.append(dict(request.query))
        return web.json_response({name: server.entry(name) for name in ("old", "new")})

    server.replies["GET", "/history"] = history
    server.running = [[5, "now", {}, {}, []]]
    server.pending = [[7, "later", {}, {}, []], [6, "soon", {}, {}, []]]
    jobs = await client.jobs(10)
    assert [job.run_id for job in jobs] == ["later", "soon", "now", "new", "old"]
    assert [job.status for job in jobs] == ["pending", "pending", "in_progress", "completed", "completed"]
    assert queries == [{"max_items": "10"}]


async def test_the_whole_history_is_never_asked_for(server, client):
    run_id = await submit(server, client, running=True)
    server.finish(run_id)
    await Follower(client.watch(run_id)).end()
    await client.result(run_id)
    assert {path for path in server.paths() if path.startswith("/history")} == {f"/history/{run_id}"}


async def test_the_queue_is_read_before_the_history(server, client):
    run_id = await submit(server, client, running=True)
    before = len(server.requests)

    async def finish_just_after(request):
        reply = await server._usual(request)
        server.finish(run_id)
        return reply

    server.replies["GET", "/queue"] = finish_just_after
    assert await client.result(run_id) is None
    assert (await client.result(run_id)).outcome is Outcome.SUCCESS
    assert [path for _, path, _ in server.requests[before:]] == ["/queue", "/queue", f"/history/{run_id}"]


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", "42 ü", "%2e%2e"])
async def test_odd_ids_of_other_programs_are_simply_unknown(server, client, run_id):
    with pytest.raises(RunLostError):
        await client.result(run_id)


def with_node_types(server):
    asked = []
    version = {"comfyui_version": "0.33.0"}
    facts = {"SaveImage": shipped().object_info()["SaveImage"]}

    async def stats(request):
        return web.json_response({"system": version, "devices": []})

    async def object_info(request):
        asked.append(1)
        return web.json_response(facts)

    server.replies["GET", "/system_stats"] = stats
    server.replies["GET", "/object_info"] = object_info
    return asked, version


async def test_node_types_are_read_once_for_each_version_of_the_server(server, client):
    asked, version = with_node_types(server)
    await asyncio.gather(*(client.node_types() for _ in range(5)))
    assert len(asked) == 1
    version["comfyui_version"] = "0.34.0"
    assert (await client.node_types()).version == "0.34.0"
    assert len(asked) == 2
    await client.node_types(refresh=True)
    assert len(asked) == 3


async def test_node_types_of_another_program_are_told_as_not_comfyui(server, client):
    with_node_types(server)
    server.replies["GET", "/object_info"] = answer(data={"a": 1})
    with pytest.raises(NotComfyUIError):
        await client.node_types()


async def test_a_file_that_history_names_and_the_server_lost_is_gone(server, client, tmp_path):
    with pytest.raises(OutputGoneError):
        await client.fetch(IMAGE)
    with pytest.raises(OutputGoneError):
        await client.fetch_to(IMAGE, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


async def test_a_file_that_breaks_off_leaves_nothing_behind(server, client, tmp_path):
    server.replies["GET", "/view"] = break_off
    with pytest.raises(UnreachableError, match="broke off"):
        await client.fetch(IMAGE)
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(UnreachableError, match="broke off"):
        await client.fetch_to(IMAGE, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


async def test_a_big_file_is_written_piece_by_piece(server, client, tmp_path):
    server.files["a.png"] = bytes(range(256)) * 40_000
    await client.fetch_to(IMAGE, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes() == server.files["a.png"]


async def test_a_folder_that_cannot_be_made_is_a_storage_error(server, client, tmp_path):
    server.files["a.png"] = b"x"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        await client.fetch_to(IMAGE, tmp_path / "file" / "a.png")


async def test_a_slow_file_may_take_longer_than_the_timeout_as_long_as_it_moves(server):
    async def slowly(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(8):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    server.replies["GET", "/view"] = slowly
    async with ComfyUI(server.url, timeout=0.4, pace=QUICK) as client:
        assert await client.fetch(IMAGE) == b"x" * 8


async def test_a_mask_that_was_answered_but_not_saved_is_gone(server, client):
    server.files["a.png"] = b"original"
    server.replies["POST", "/upload/mask"] = answer(data={"name": "m.png", "subfolder": "", "type": "input"})
    with pytest.raises(OutputGoneError, match=r"m\.png"):
        await client.upload_mask("m.png", b"mask", IMAGE)


async def test_a_mask_that_does_not_fit_is_refused(server, client):
    server.files["a.png"] = b"original"
    server.replies["POST", "/upload/mask"] = answer(500, "500 Internal Server Error\n\nServer got itself in trouble")
    with pytest.raises(RejectedError):
        await client.upload_mask("m.png", b"mask", IMAGE)


async def test_free_is_asked_twice_since_an_idle_server_may_overlook_once(server, client):
    bodies = []

    async def free(request):
        bodies.append(await request.json())
        return web.Response()

    server.replies["POST", "/free"] = free
    await client.free(unload_models=False)
    assert bodies == [{"unload_models": False, "free_memory": True}] * 2
