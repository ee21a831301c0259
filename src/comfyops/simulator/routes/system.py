"""/system_stats, /features, /users, /settings: what the server is, and what the page keeps in it."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from comfyops.simulator.machine import Machine, machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.support.files import write_text

_FRONTEND = {True: "1.49.6", False: "1.35.9"}
_TEMPLATES = {True: "0.11.44", False: "0.7.67"}


def features(modern: bool) -> dict[str, Any]:
    """What the server can do, also the answer to a socket's feature flags."""
    known = {"supports_preview_metadata": True, "max_upload_size": 100 * 1024 * 1024}
    known["extension"] = {"manager": {"supports_v4": True}}  # type: ignore[assignment]
    if modern:
        known |= {"supports_model_type_tags": True, "node_replacements": True, "assets": False}
    return known


async def get_features(request: web.Request) -> web.Response:
    """GET /features."""
    return json_answer(features(machine(request).modern))


async def get_stats(request: web.Request) -> web.Response:
    """Version, memory and one simulated device."""
    here = machine(request)
    return json_answer({"system": _system(here), "devices": [_device(here)]})


async def get_users(request: web.Request) -> web.Response:
    """One user, whose files are kept by the server."""
    return json_answer({"storage": "server", "migrated": (machine(request).folders.user / "default").exists()})


async def post_users(request: web.Request) -> web.Response:
    """Add a user; the simulated server has one all the same."""
    name = str((await request.json())["username"]).strip()
    file = machine(request).folders.user / "users.json"
    users = _settings(file)
    if name in users.values():
        return json_answer({"error": "Duplicate username."}, status=400)
    if not name:
        return json_answer({"error": "username not provided"}, status=400)
    user_id = f"{re.sub('[^a-zA-Z0-9-_]+', '-', name)}_{uuid.uuid4()}"
    _save(file, {**users, user_id: name})
    return json_answer(user_id)


async def get_settings(request: web.Request) -> web.Response:
    """All settings of the page."""
    return json_answer(_settings(_file(request)))


async def get_setting(request: web.Request) -> web.Response:
    """One setting, null where it is not set."""
    return json_answer(_settings(_file(request)).get(request.match_info["name"]))


async def post_settings(request: web.Request) -> web.Response:
    """Change some settings."""
    _save(_file(request), {**_settings(_file(request)), **await request.json()})
    return web.Response()


async def post_setting(request: web.Request) -> web.Response:
    """Change one setting."""
    value = await request.json()
    _save(_file(request), {**_settings(_file(request)), request.match_info["name"]: value})
    return web.Response()


def _file(request: web.Request) -> Path:
    return machine(request).folders.user / "default" / "comfy.settings.json"


def _settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _save(file: Path, settings: dict[str, Any]) -> None:
    write_text(file, json.dumps(settings, indent=4))


def _system(here: Machine) -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 16 * 1024**3
    system: dict[str, Any] = {
        "os": sys.platform,
        "ram_total": pages,
        "ram_free": pages // 2,
        "comfyui_version": here.settings.version,
        "required_frontend_version": _FRONTEND[here.modern],
        "installed_templates_version": _TEMPLATES[here.modern],
        "required_templates_version": _TEMPLATES[here.modern],
    }
    if here.modern:
        system["comfy_package_versions"] = [
            {"name": "comfyui-frontend-package", "installed": _FRONTEND[True], "required": _FRONTEND[True]},
            {"name": "comfyui-workflow-templates", "installed": _TEMPLATES[True], "required": _TEMPLATES[True]},
        ]
    system |= {"python_version": platform.python_version(), "pytorch_version": "simulated", "embedded_python": False}
    if here.modern:
        system["deploy_environment"] = "local-git"
    return system | {"argv": ["comfyops", "simulate"]}


def _device(here: Machine) -> dict[str, Any]:
    total = here.settings.vram_bytes
    used = here.residency.used_bytes
    return {
        "name": "cuda:0 simulated GPU (comfyops)",
        "type": "cuda",
        "index": 0,
        "vram_total": total,
        "vram_free": max(total - used, 0),
        "torch_vram_total": used,
        "torch_vram_free": 0,
    }


ROUTES = [
    web.get("/system_stats", get_stats),
    web.get("/features", get_features),
    web.get("/users", get_users),
    web.post("/users", post_users),
    web.get("/settings", get_settings),
    web.get("/settings/{name}", get_setting),
    web.post("/settings", post_settings),
    web.post("/settings/{name}", post_setting),
]
