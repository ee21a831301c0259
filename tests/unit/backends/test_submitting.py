"""One run id is queued once, whatever happens on the way."""

import asyncio
from uuid import UUID

import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import NotComfyUIError, RejectedError, UnreachableError
from comfyops.testing import graphs
from comfyops.workflows.graph import Graph, Node
from tests.unit.backends.scripted import QUICK, Follower, answer, break_off, hang

RUN = "11111111-1111-4111-8111-111111111111"


async def test_every_submit_carries_a_client_id_and_a_canonical_run_id(server, client):
    queued = await client.submit(graphs.picture())
    (body,) = server.bodies
    assert body["client_id"] == client.client_id and isinstance(body["client_id"], str)
    assert str(UUID(body["prompt_id"])) == body["prompt_id"] == queued.run_id
    assert "front" not in body and "number" not in body and "extra_data" not in body


async def test_front_and_preview_method_are_sent_where_asked_for(server):
    async with ComfyUI(server.url, preview_method="latent2rgb") as client:
        await client.submit(graphs.picture(), front=True)
    assert server.bodies[0]["front"] is True
    assert server.bodies[0]["extra_data"] == {"preview_method": "latent2rgb"}


async def test_every_node_has_meta_so_that_replaced_classes_do_not_break_the_server(server, client):
    await client.submit(Graph({"1": Node("1", "A", {}), "2": Node("2", "B", {}, "Title")}))
    assert server.bodies[0]["prompt"]["1"]["_meta"] == {}
    assert server.bodies[0]["prompt"]["2"]["_meta"] == {"title": "Title"}


async def test_the_websocket_is_open_before_the_graph_is_sent(server, client):
    await client.submit(graphs.picture())
    await client.submit(graphs.picture())
    assert [path for _, path, _ in server.requests] == ["/ws", "/prompt", "/prompt"]


async def test_of_many_first_submits_at_once_all_wait_for_the_websocket(server, client):
    await asyncio.gather(*(client.submit(graphs.picture()) for _ in range(20)))
    assert [path for _, path, _ in server.requests] == ["/ws"] + ["/prompt"] * 20


@pytest.mark.parametrize("where", ["pending", "running", "finished"])
async def test_an_id_that_the_server_knows_is_not_sent_again(server, client, where):
    first = await client.submit(graphs.picture(), run_id=RUN)
    if where == "running":
        server.start_run(RUN)
    if where == "finished":
        server.finish(RUN)
    async with ComfyUI(server.url, pace=QUICK) as other:
        again = await other.submit(graphs.picture(), run_id=RUN)
    assert (again.run_id, again.number) == (first.run_id, first.number)
    assert len(server.bodies) == 1


async def test_of_two_submits_at_once_only_one_is_sent(server, client):
    async def slowly(request):
        await asyncio.sleep(0.1)
        return await server.queue_prompt(request)

    server.replies["POST", "/prompt"] = slowly
    await asyncio.gather(*(client.submit(graphs.picture(), run_id=RUN) for _ in range(5)))
    assert len(server.bodies) == 1


@pytest.mark.parametrize("failure", ["break off", "hang", "500", "502", "html"])
async def test_a_run_that_was_queued_though_its_answer_was_lost_is_found(server, failure):
    async def queue_and_fail(request):
        await server.queue_prompt(request)
        if failure == "hang":
            await asyncio.sleep(30)
        if failure == "break off":
            return await break_off(request)
        if failure == "html":
            return web.Response(text="<html>", content_type="text/html")
        return web.Response(status=int(failure), text="Server got itself in trouble")

    server.replies["POST", "/prompt"] = queue_and_fail
    async with ComfyUI(server.url, timeout=0.4, pace=QUICK) as client:
        queued = await client.submit(graphs.picture(), run_id=RUN)
        assert (queued.run_id, queued.number) == (RUN, 0)
        assert len(server.bodies) == 1
        follower = Follower(client.watch(RUN))
        server.finish(RUN)
        await follower.end()


async def test_a_lost_post_is_never_sent_again_by_itself(server):
    server.replies["POST", "/prompt"] = hang()
    async with ComfyUI(server.url, timeout=0.2, pace=QUICK) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.submit(graphs.picture(), run_id=RUN)
        assert caught.value.facts["run_id"] == RUN
        assert server.paths("POST") == ["/prompt"]
        del server.replies["POST", "/prompt"]
        assert (await client.submit(graphs.picture(), run_id=RUN)).run_id == RUN
    assert len(server.bodies) == 1


async def test_a_500_for_a_malformed_graph_is_a_rejection(server, client):
    server.replies["POST", "/prompt"] = answer(500, "500 Internal Server Error\n\nServer got itself in trouble")
    with pytest.raises(RejectedError, match="malformed"):
        await client.submit(graphs.picture())


async def test_a_graph_that_is_too_large_is_a_rejection(server, client):
    server.replies["POST", "/prompt"] = answer(413, "Maximum request body size 104857600 exceeded.")
    with pytest.raises(RejectedError, match="too large"):
        await client.submit(graphs.picture())


async def test_a_400_is_told_with_node_input_and_reason(server, client):
    fault = {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "ckpt_name: 'x' not in []",
        "extra_info": {"input_name": "ckpt_name", "input_config": None},
    }
    body = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "failed", "details": "", "extra_info": {}},
        "node_errors": {
            "4": {"errors": [fault], "dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"},
            "5": {"errors": [fault], "dependent_outputs": ["9"], "class_type": "LoraLoader"},
        },
    }
    server.replies["POST", "/prompt"] = answer(400, data=body)
    with pytest.raises(RejectedError) as caught:
        await client.submit(graphs.picture())
    assert caught.value.message == (
        "The server refused the workflow: node 4 (CheckpointLoaderSimple): "
        "Value not in list: ckpt_name: 'x' not in [] (and 1 more)."
    )
    assert caught.value.facts["node_errors"][0]["input"] == "ckpt_name"


async def test_thousands_of_node_errors_are_all_read(server, client):
    fault = {"type": "t", "message": "m", "details": "d" * 200, "extra_info": {}}
    entry = {"errors": [fault], "dependent_outputs": ["1"], "class_type": "A"}
    body = {"error": {"type": "t", "message": "m"}, "node_errors": {str(node): entry for node in range(5000)}}
    server.replies["POST", "/prompt"] = answer(400, data=body)
    with pytest.raises(RejectedError, match="and 4999 more") as caught:
        await client.submit(graphs.picture())
    assert len(caught.value.facts["node_errors"]) == 5000


async def test_a_server_without_the_route_is_not_comfyui(server, client):
    server.replies["POST", "/prompt"] = answer(404, "404: Not Found")
    with pytest.raises(NotComfyUIError):
        await client.submit(graphs.picture())
    assert server.paths("POST") == ["/prompt"]


async def test_an_old_server_that_makes_its_own_ids_is_believed(server, client):
    own = "22222222-2222-4222-8222-222222222222"
    server.replies["POST", "/prompt"] = answer(data={"prompt_id": own, "number": 3, "node_errors": {}})
    queued = await client.submit(graphs.picture())
    assert queued.run_id == own
    server.history[own] = server.entry(own)
    await Follower(client.watch(own)).end()
