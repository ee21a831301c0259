"""/history: what became of finished prompts."""

from __future__ import annotations

from aiohttp import web

from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer


async def get_history(request: web.Request) -> web.Response:
    """Finished runs, oldest first; the newest `max_items` of them, or so many from `offset`."""
    max_items, offset = request.query.get("max_items"), request.query.get("offset")
    page = machine(request).history.page(
        None if max_items is None else int(max_items), -1 if offset is None else int(offset)
    )
    return json_answer(page)


async def get_one(request: web.Request) -> web.Response:
    """One finished run; {} for any other id."""
    prompt_id = request.match_info["prompt_id"]
    entry = machine(request).history.get(prompt_id)
    return json_answer({} if entry is None else {prompt_id: entry})


async def post_history(request: web.Request) -> web.Response:
    """Forget all runs or some."""
    body = await request.json()
    history = machine(request).history
    if "clear" in body and body["clear"]:  # noqa: RUF019 (a list, too, is a body that names nothing)
        history.clear()
    if "delete" in body:
        for prompt_id in body["delete"]:
            history.delete(prompt_id)
    return web.Response()


ROUTES = [
    web.get("/history", get_history),
    web.get("/history/{prompt_id}", get_one),
    web.post("/history", post_history),
]
