"""A run is followed to its end whatever the websocket says or leaves out."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Finished, NodeStarted, NodeText, Outcome, Preview, Progress, Queued, Started
from comfyops.backends.watching import Pace
from comfyops.errors import LoginRequiredError, RunLostError, StalledError, UnreachableError
from comfyops.testing import graphs
from tests.unit.backends.recorded import plain_preview, signed_preview, text_frame
from tests.unit.backends.scripted import QUICK, Follower, ScriptedServer, answer, hang, until

RUN = "11111111-1111-4111-8111-111111111111"
JPEG = b"\xff\xd8\xff"


async def begin(client, server):
    """Submit a run, let it start, watch it."""
    run_id = (await client.submit(graphs.picture(1))).run_id
    server.start_run(run_id)
    await server.say("execution_start", prompt_id=run_id)
    return run_id, Follower(client.watch(run_id))


async def finish(server, run_id):
    server.finish(run_id)
    await server.say("executing", node=None, prompt_id=run_id)


async def test_events_between_submit_and_watch_are_not_missed(server, client):
    run_id = (await client.submit(graphs.picture(1))).run_id
    await server.say("execution_start", prompt_id=run_id)
    await server.say("progress", prompt_id=run_id, node="1", value=1, max=2)
    await finish(server, run_id)
    follower = Follower(client.watch(run_id))
    await follower.end()
    assert follower.events[:2] == [Started(run_id), Progress(run_id, "1", 1, 2)]


async def test_run_gives_queued_first_and_finished_last(server, client):
    follower = Follower(client.run(graphs.picture(1)))
    await until(lambda: server.pending)
    await finish(server, server.pending[0][1])
    await follower.end()
    assert isinstance(follower.events[0], Queued)


async def test_a_lively_run_is_not_asked_about_until_it_is_over(server, client):
    run_id, follower = await begin(client, server)
    await until(lambda: follower.events)
    before = len(server.requests)
    await finish(server, run_id)
    await follower.end()
    assert [path for _, path, _ in server.requests[before:]] == [f"/history/{run_id}"]


async def test_success_is_not_taken_for_the_end_while_the_history_lags(server, client):
    run_id, follower = await begin(client, server)
    await server.say("execution_success", prompt_id=run_id)
    await until(lambda: f"/history/{run_id}" in server.paths() or "/queue" in server.paths())
    assert not follower.task.done()
    server.finish(run_id)
    assert (await follower.end()).outcome is Outcome.SUCCESS


async def test_the_last_message_may_come_before_the_history_has_the_run(server, client):
    run_id, follower = await begin(client, server)
    await server.say("executing", node=None, prompt_id=run_id)
    await until(lambda: server.paths().count("/queue") >= 2)
    server.finish(run_id)
    await follower.end()


async def test_a_run_ends_though_the_websocket_never_tells(server, client):
    run_id, follower = await begin(client, server)
    server.finish(run_id)
    await follower.end()


async def test_a_websocket_that_somebody_else_blocks_does_not_delay_the_end_for_long(server):
    async with ComfyUI(server.url, pace=replace(Pace(), quiet=0.1)) as client:
        run_id, follower = await begin(client, server)
        server.finish(run_id)
        await follower.end(seconds=2)


async def test_a_run_that_tells_of_work_is_asked_about_rarely(server):
    async with ComfyUI(server.url, pace=replace(Pace(), quiet=0.2)) as client:
        run_id, follower = await begin(client, server)
        before = len(server.requests)
        for step in range(20):
            await server.say("progress", prompt_id=run_id, node="3", value=step, max=20)
            await asyncio.sleep(0.05)
        assert server.requests[before:] == []
        await finish(server, run_id)
        await follower.end()


async def test_a_run_ends_though_there_is_no_websocket_at_all(server, client):
    server.replies["GET", "/ws"] = answer(404)
    run_id = (await client.submit(graphs.picture(1))).run_id
    follower = Follower(client.watch(run_id))
    await until(lambda: "/queue" in server.paths())
    server.finish(run_id)
    await follower.end()


async def test_a_run_ends_though_the_websocket_handshake_hangs(server):
    server.replies["GET", "/ws"] = hang()
    async with ComfyUI(server.url, pace=QUICK, timeout=0.3) as client:
        run_id = (await client.submit(graphs.picture(1))).run_id
        follower = Follower(client.watch(run_id))
        server.finish(run_id)
        await follower.end()


async def test_a_run_of_another_client_is_followed_by_asking(server, client):
    server.running = [[0, RUN, {}, {"client_id": "somebody"}, ["2"]]]
    follower = Follower(client.watch(RUN))
    await until(lambda: server.paths().count("/queue") >= 2)
    server.finish(RUN)
    await follower.end()


async def test_watching_a_finished_run_gives_its_end_alone(server, client):
    server.history[RUN] = server.entry(RUN)
    follower = Follower(client.watch(RUN))
    await follower.end()
    assert len(follower.events) == 1


async def test_messages_of_other_runs_are_not_ours(server, client):
    run_id, follower = await begin(client, server)
    await server.say("progress", prompt_id=RUN, node="9", value=1, max=2)
    await server.send_bytes(signed_preview(RUN, "9", JPEG))
    await server.say("executing", prompt_id=RUN, node=None)
    await server.say("progress", prompt_id=run_id, node="1", value=1, max=2)
    await finish(server, run_id)
    await follower.end()
    assert [event.run_id for event in follower.events] == [run_id] * len(follower.events)
    assert len(follower.events) == 3


async def test_unknown_and_damaged_messages_are_ignored(server, client):
    run_id, follower = await begin(client, server)
    for text in ("not json", "[]", '{"type": "assets.seed.started", "data": {}}', '{"type": "executed", "data": 5}'):
        await server.send_text(text)
    await server.send_bytes(b"\0\0")
    await server.send_bytes(b"\0\0\0\x63\0\0\0\0")
    await finish(server, run_id)
    await follower.end()
    assert [type(event) for event in follower.events] == [Started, Finished]


async def test_signed_previews_are_delivered_and_unsigned_ones_dropped_once_flags_are_agreed(server, client):
    run_id, follower = await begin(client, server)
    await server.say("executing", node="3", prompt_id=run_id)
    await server.send_bytes(plain_preview(b"somebody else's"))
    await server.send_bytes(signed_preview(run_id, "3", JPEG))
    await finish(server, run_id)
    await follower.end()
    assert [event for event in follower.events if isinstance(event, Preview)] == [
        Preview(run_id, "3", "image/jpeg", JPEG)
    ]


async def test_unsigned_previews_of_an_older_server_belong_to_the_run_at_work(server, client):
    server.flags = False
    run_id, follower = await begin(client, server)
    await server.say("executing", node="3", prompt_id=run_id)
    await server.send_bytes(plain_preview(JPEG))
    await server.say("executing", node=None, prompt_id=run_id)
    await server.send_bytes(plain_preview(b"the next run's"))
    server.finish(run_id)
    await follower.end()
    assert [event.data for event in follower.events if isinstance(event, Preview)] == [JPEG]


async def test_words_of_a_node_are_delivered(server, client):
    run_id, follower = await begin(client, server)
    await server.send_bytes(text_frame("3", "16 x 16"))
    await finish(server, run_id)
    await follower.end()
    assert NodeText(run_id, "3", "16 x 16") in follower.events


async def test_a_reader_that_takes_nothing_does_not_stop_the_socket(server, client):
    run_id = (await client.submit(graphs.picture(1))).run_id
    events = client.watch(run_id)
    await server.say("execution_start", prompt_id=run_id)
    assert isinstance(await anext(events), Started)
    picture = JPEG * 20_000
    async with asyncio.timeout(20):
        for step in range(400):  # 24 MB: far more than the buffers of a socket
            await server.say("progress", prompt_id=run_id, node="3", value=step, max=400)
            await server.send_bytes(signed_preview(run_id, "3", picture))
        await finish(server, run_id)
    rest = [event async for event in events]
    assert isinstance(rest[-1], Finished) and len(rest) < 100
    assert [event.value for event in rest if isinstance(event, Progress)][-1] == 399


@pytest.mark.parametrize(("host", "compressed"), [("127.0.0.1", False), ("127.0.0.2", True)])
async def test_messages_from_another_machine_are_compressed(host, compressed):
    async with AsyncExitStack() as stack:
        server = ScriptedServer()
        server.host = host  # the second one counts as another machine
        await stack.enter_async_context(server)
        client = await stack.enter_async_context(ComfyUI(server.url, pace=QUICK))
        run_id, follower = await begin(client, server)
        await server.send_text('{"type": "progress_state", "data": {' + " " * 500_000 + "}}")
        await finish(server, run_id)
        await follower.end()
        offered = [headers.get("Sec-WebSocket-Extensions", "") for _, path, headers in server.requests if path == "/ws"]
        assert ("permessage-deflate" in offered[0]) is compressed


async def test_a_dropped_socket_is_opened_again_with_the_same_client_id(server, client):
    run_id, follower = await begin(client, server)
    await server.sockets[0][1].close()
    await until(lambda: server.socket_log.count("open") == 2 and server.sockets)
    await server.say("executing", client.client_id, node="3", prompt_id=run_id)
    await finish(server, run_id)
    await follower.end()
    assert NodeStarted(run_id, "3") in follower.events


async def test_a_silent_socket_is_closed_before_a_new_one_is_opened(server, client):
    run_id, follower = await begin(client, server)
    await until(lambda: server.socket_log.count("open") == 2)
    assert server.socket_log[:3] == ["open", "close", "open"]
    await finish(server, run_id)
    await follower.end()


async def test_a_socket_that_tells_of_work_is_kept(server, client):
    run_id, follower = await begin(client, server)
    for step in range(12):
        await server.say("progress_state", prompt_id=run_id, nodes={})
        await asyncio.sleep(0.05)
        assert not follower.task.done(), step
    await finish(server, run_id)
    await follower.end()
    assert server.socket_log == ["open"]


async def test_a_run_forgotten_by_a_restart_is_lost(server, client):
    run_id, follower = await begin(client, server)
    await server.stop()
    server.running, server.pending, server.history = [], [], {}
    await asyncio.sleep(0.1)
    await server.start()
    with pytest.raises(RunLostError) as caught:
        await follower.end()
    assert caught.value.facts["run_id"] == run_id


async def test_a_run_that_survives_a_short_absence_is_followed_on(server, client):
    run_id, follower = await begin(client, server)
    await server.stop()
    await asyncio.sleep(0.2)
    await server.start()
    server.finish(run_id)
    await follower.end()


async def test_the_first_submit_after_a_restart_has_its_websocket_again(server, client):
    await client.submit(graphs.picture(1))
    await server.stop()
    for _ in range(3):
        with pytest.raises(UnreachableError):
            await client.submit(graphs.picture(1))
    await asyncio.sleep(0.5)
    await server.start()
    before = len(server.requests)
    run_id, follower = await begin(client, server)
    await finish(server, run_id)
    await follower.end()
    assert [path for _, path, _ in server.requests[before:]][:2] == ["/ws", "/prompt"]
    assert isinstance(follower.events[0], Started)


async def test_an_idle_client_whose_socket_was_dropped_opens_it_for_the_next_run(server, client):
    run_id, follower = await begin(client, server)
    await finish(server, run_id)
    await follower.end()
    await server.sockets[0][1].close()
    await asyncio.sleep(0.6)
    assert server.socket_log == ["open", "close"]
    run_id, follower = await begin(client, server)
    await finish(server, run_id)
    await follower.end()
    assert isinstance(follower.events[0], Started)


async def test_a_server_that_stays_away_is_given_up(server, client):
    _, follower = await begin(client, server)
    await server.stop()
    try:
        with pytest.raises(UnreachableError):
            await follower.end()
    finally:
        await server.start()


async def test_a_pending_run_deleted_by_somebody_else_is_lost(server, client):
    run_id = (await client.submit(graphs.picture(1))).run_id
    follower = Follower(client.watch(run_id))
    await asyncio.sleep(0.05)
    server.pending = []
    await server.say("status", status={})
    with pytest.raises(RunLostError):
        await follower.end()


async def test_a_login_that_is_asked_for_in_between_is_told(server, client):
    _, follower = await begin(client, server)
    server.replies["GET", "/queue"] = answer(401, data={"error": "Authentication required."})
    with pytest.raises(LoginRequiredError):
        await follower.end()


@pytest.mark.parametrize("running", [True, False])
async def test_a_dead_worker_behind_a_living_port_is_stalled(server, running):
    async with ComfyUI(server.url, pace=QUICK, stall_timeout=0.6) as client:
        run_id = (await client.submit(graphs.picture(1))).run_id
        if running:
            server.start_run(run_id)
        started = time.monotonic()
        with pytest.raises(StalledError) as caught:
            await Follower(client.watch(run_id)).end()
        assert 0.5 < time.monotonic() - started < 3
        assert caught.value.facts["head"] == ([run_id] if running else [])


async def test_a_new_socket_that_repeats_the_current_node_does_not_hide_a_dead_worker(server):
    async with ComfyUI(server.url, pace=QUICK, stall_timeout=1.0) as client:
        run_id, follower = await begin(client, server)
        async with asyncio.timeout(10):
            while not follower.task.done():
                if server.sockets:
                    await server.say("executing", node="3", prompt_id=run_id)
                await asyncio.sleep(0.02)
        with pytest.raises(StalledError):
            await follower.end()


async def test_changes_of_the_queue_are_no_sign_of_a_living_worker(server):
    async with ComfyUI(server.url, pace=QUICK, stall_timeout=0.6) as client:
        run_id = (await client.submit(graphs.picture(1))).run_id
        follower = Follower(client.watch(run_id))
        async with asyncio.timeout(10):
            while not follower.task.done():
                if server.sockets:
                    await server.say("status", status={})
                await asyncio.sleep(0.02)
        with pytest.raises(StalledError):
            await follower.end()


async def test_a_queue_that_moves_is_not_stalled(server):
    async with ComfyUI(server.url, pace=QUICK, stall_timeout=0.5) as client:
        run_id = (await client.submit(graphs.picture(1))).run_id
        follower = Follower(client.watch(run_id))
        for other in range(12):
            server.running = [[other, f"run of somebody {other}", {}, {}, []]]
            await asyncio.sleep(0.1)
        assert not follower.task.done()
        server.finish(run_id)
        await follower.end()


async def test_many_watchers_share_their_questions(server, client):
    server.replies["GET", "/ws"] = answer(404)
    ids = [(await client.submit(graphs.picture(1))).run_id for _ in range(30)]
    before = server.paths().count("/queue")
    followers = [Follower(client.watch(run_id)) for run_id in ids]
    await asyncio.sleep(0.3)
    asked = server.paths().count("/queue") - before
    for run_id in ids:
        server.finish(run_id)
    await asyncio.gather(*(follower.end() for follower in followers))
    assert asked < 150  # each alone would ask some ten times
