"""/queue, /interrupt, /free: look at what waits and runs, and stop it."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.submission import ServerTroubleError


async def get_queue(request: web.Request) -> web.Response:
    """What runs, and what waits in the order of the heap (not of running)."""
    queue = machine(request).queue
    running = [] if queue.running is None else [queue.running.entry()]
    return json_answer({"queue_running": running, "queue_pending": [item.entry() for item in queue.pending]})


async def post_queue(request: web.Request) -> web.Response:
    """Clear the queue or delete waiting prompts from it."""
    body = await request.json()
    queue = machine(request).queue
    if "clear" in body and body["clear"]:  # noqa: RUF019 (a list, too, is a body that names nothing)
        queue.clear()
    if "delete" in body:
        for prompt_id in body["delete"]:
            queue.delete(prompt_id)
    return web.Response()


async def post_interrupt(request: web.Request) -> web.Response:
    """Interrupt whatever runs, or only one prompt if that is the one that runs."""
    try:
        body = await request.json()
    except json.JSONDecodeError:
        body = {}
    prompt_id = _object(body).get("prompt_id")
    running = machine(request).queue.running
    if not prompt_id or (running is not None and running.id == prompt_id):
        machine(request).interrupt.set()
    return web.Response()


async def post_free(request: web.Request) -> web.Response:
    """Unload models, forget results of nodes; done when no prompt runs."""
    machine(request).free(_object(await request.json()))
    return web.Response()


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ServerTroubleError("the body is no object")
    return body


ROUTES = [
    web.get("/queue", get_queue),
    web.post("/queue", post_queue),
    web.post("/interrupt", post_interrupt),
    web.post("/free", post_free),
]
