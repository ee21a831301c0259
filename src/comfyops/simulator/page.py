"""The official ComfyUI page (extra `page`), served from its package; without it, a text that says how to get it."""

from __future__ import annotations

from importlib import util
from pathlib import Path

from aiohttp import web

from comfyops.errors import MissingExtraError
from comfyops.simulator.files import Folders
from comfyops.simulator.machine import MACHINE, machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.templates import index, templates, thumbnail
from comfyops.support.files import write_text

_HINT = "Install it with `pip install 'comfyops[page]'` and start `comfyops simulate --page`."


def add_routes(app: web.Application, *, wanted: bool) -> None:
    """Serve the page's files for every path that no other route takes.

    Raises MissingExtraError where the page is wanted but its package is not installed.
    """
    folder = page_folder() if wanted else None
    if wanted and folder is None:
        raise MissingExtraError("The official ComfyUI page is not installed.", hint=_HINT)
    if folder is not None:
        _prepare(app[MACHINE].folders)
        app.router.add_get("/templates/{name}", _get_template)

    async def get(request: web.Request) -> web.StreamResponse:
        return _answer(folder, request.match_info["path"])

    app.router.add_get("/{path:.*}", get)


def page_folder() -> Path | None:
    """The folder of the page's files, None where the package is not installed."""
    found = util.find_spec("comfyui_frontend_package")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "static"
    return folder if (folder / "index.html").is_file() else None


def _prepare(folders: Folders) -> None:
    """What a used server has in its user folder, so that the page finds all that it asks for at its first start."""
    user = folders.user / "default"
    for name in ("workflows", "subgraphs"):
        (user / name).mkdir(parents=True, exist_ok=True)
    for name, text in (("user.css", ""), ("comfy.templates.json", "[]")):
        if not (user / name).exists():
            write_text(user / name, text)


async def _get_template(request: web.Request) -> web.StreamResponse:
    """The list of templates (in any language), one of them, or its picture."""
    name = request.match_info["name"]
    found = templates(machine(request).models)
    if name == "index_logo.json":
        return json_answer({})
    if name.startswith("index") and name.endswith(".json"):
        return json_answer(index(found))
    plain = name.removesuffix(".json").removesuffix("-1.webp")
    if plain not in found:
        return web.Response(status=404)
    if name.endswith(".webp"):
        return web.Response(body=thumbnail(plain), content_type="image/webp")
    return json_answer(found[plain].workflow())


def _answer(folder: Path | None, path: str) -> web.StreamResponse:
    if folder is None:
        if path:
            return web.Response(status=404)
        return web.Response(status=404, text=f"This is a simulated ComfyUI server without the official page. {_HINT}\n")
    if path == "user.css":
        return web.Response(content_type="text/css")
    if path in ("", "api/"):
        return _entry(folder / "index.html")
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        return web.Response(status=403)
    if file.is_dir():
        return web.Response(status=403, text="403: Forbidden")
    return web.FileResponse(file) if file.is_file() else web.Response(status=404)


def _entry(file: Path) -> web.StreamResponse:
    headers = {"Cache-Control": "no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
    return web.FileResponse(file, headers=headers)
