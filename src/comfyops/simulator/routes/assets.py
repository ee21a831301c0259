"""/api/assets, /api/tags: the switched-off assets system of 0.33; 0.8.0 has no such routes."""

from __future__ import annotations

from aiohttp import web

from comfyops.simulator.routes.answers import json_answer


async def disabled(request: web.Request) -> web.Response:
    """What the server answers without --enable-assets."""
    message = "Assets system is disabled. Start the server with --enable-assets to use this feature."
    error = {"code": "SERVICE_DISABLED", "message": message, "details": {}}
    return json_answer({"error": error}, status=503)


ROUTES = [
    web.route("*", path, disabled)
    for path in ("/api/assets", "/api/assets/{tail:.*}", "/api/tags", "/api/tags/{tail:.*}")
]
