"""/prompt: submit a prompt."""

from __future__ import annotations

from aiohttp import web

from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.submission import RefusedError


async def get_prompt(request: web.Request) -> web.Response:
    """How many prompts are left."""
    return json_answer(machine(request).queue_info())


async def post_prompt(request: web.Request) -> web.Response:
    """Validate a prompt and queue it."""
    body = await request.json()
    try:
        return json_answer(machine(request).submit(body, request.headers.get("Comfy-Usage-Source")))
    except RefusedError as refused:
        return json_answer(refused.body, status=400)


ROUTES = [web.get("/prompt", get_prompt), web.post("/prompt", post_prompt)]
