"""/internal: what the official page asks for; there is no /api variant."""

from __future__ import annotations

import os

from aiohttp import web

from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.routes.models import folders_of


async def get_logs(request: web.Request) -> web.Response:
    """The server's log as one text."""
    return json_answer("".join(f"{time} - {text}\n" for time, text in machine(request).log))


async def get_raw_logs(request: web.Request) -> web.Response:
    """The server's log line by line."""
    entries = [{"t": time, "m": f"{text}\n"} for time, text in machine(request).log]
    return json_answer({"entries": entries, "size": {"cols": 80, "rows": 24}})


async def subscribe_logs(request: web.Request) -> web.Response:
    """Ask for log lines by websocket; a simulated server has none worth sending."""
    body = await request.json()
    if "clientId" not in body or "enabled" not in body:
        raise KeyError("clientId")
    return web.Response()


async def get_folder_paths(request: web.Request) -> web.Response:
    """Where each kind of model lies."""
    here = machine(request)
    return json_answer({name: [str(here.folders.home / "models" / name)] for name in folders_of(here)})


async def get_files(request: web.Request) -> web.Response:
    """Names of the files of a type, newest first."""
    here, kind = machine(request), request.match_info["kind"]
    folder = here.folders.of_type(kind)
    if folder is None:
        return json_answer({"error": "Invalid directory type"}, status=400)
    entries = [entry for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
    entries.sort(key=lambda entry: -entry.stat().st_mtime)
    mark = f" [{kind}]" if here.modern else ""
    return json_answer([entry.name + mark for entry in entries])


async def not_found(request: web.Request) -> web.Response:
    """Any other path."""
    return web.Response(status=404, text="404: Not Found")


ROUTES = [
    web.get("/internal/logs", get_logs),
    web.get("/internal/logs/raw", get_raw_logs),
    web.patch("/internal/logs/subscribe", subscribe_logs),
    web.get("/internal/folder_paths", get_folder_paths),
    web.get("/internal/files/{kind}", get_files),
    web.route("*", "/internal", not_found),
    web.route("*", "/internal/{tail:.*}", not_found),
]
