"""/userdata and /v2/userdata: files that the page keeps for its user, workflows above all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from comfyops.errors import StorageError
from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.routes.view import content_type, is_active
from comfyops.support.files import write_bytes


class _RefusedError(Exception):
    """The answer is this status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


async def get_listing(request: web.Request) -> web.Response:
    """Files of a folder, as names, as split names or with their facts."""
    query = request.query
    if not query.get("dir"):
        return web.Response(status=400, text="Directory not provided")
    folder = _inside(request, query["dir"])
    if folder is None:
        return web.Response(status=403, text="Invalid directory")
    if not folder.exists():
        return web.Response(status=404, text="Directory not found")
    files = _files(folder, deep=query.get("recurse", "").lower() == "true")
    if query.get("full_info", "").lower() == "true":
        modern = machine(request).modern
        return json_answer([_info(path, folder, modern) for path in files])
    names = [path.relative_to(folder).as_posix() for path in files]
    if query.get("split", "").lower() == "true":
        return json_answer([[name, *name.split("/")] for name in names])
    return json_answer(names)


async def get_tree(request: web.Request) -> web.Response:
    """Files and folders below a path, folders first."""
    root = _root(request)
    folder = _inside(request, unquote(request.query.get("path", "")) or ".")
    if folder is None:
        return web.Response(status=400, text="Invalid path requested")
    if not folder.exists():
        if folder == root:
            return json_answer([])
        return web.Response(status=404, text="Requested path not found")
    if not folder.is_dir():
        return web.Response(status=400, text="Requested path is not a directory")
    found = [_tree_entry(path, root) for path in folder.rglob("*")]
    found.sort(key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))
    return json_answer(found)


async def get_file(request: web.Request) -> web.StreamResponse:
    """One file, as a download on 0.33."""
    try:
        path = _wanted(request, "file", must_exist=True)
    except _RefusedError as refused:
        return web.Response(status=refused.status)
    if not machine(request).modern:
        return web.FileResponse(path)
    kind = content_type(path.name)
    disposition = "attachment"
    if path == _root(request) / "user.css":
        kind, disposition = "text/css", "inline"
    elif is_active(kind, modern=True):
        kind = "application/octet-stream"
    headers = {"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Content-Disposition": disposition}
    return web.FileResponse(path, headers=headers)


async def post_file(request: web.Request) -> web.Response:
    """Write one file."""
    try:
        path = _wanted(request, "file", make_folder=True)
    except _RefusedError as refused:
        return web.Response(status=refused.status)
    if request.query.get("overwrite", "true") == "false" and path.exists():
        return web.Response(status=409, text="File already exists")
    try:
        write_bytes(path, await request.read())
    except StorageError:
        return web.Response(status=400, reason='Invalid filename. Please avoid special characters like :\\/*?"<>|')
    return _saved(request, path)


async def delete_file(request: web.Request) -> web.Response:
    """Delete one file."""
    try:
        _wanted(request, "file", must_exist=True).unlink()
    except _RefusedError as refused:
        return web.Response(status=refused.status)
    return web.Response(status=204)


async def move_file(request: web.Request) -> web.Response:
    """Rename one file."""
    try:
        source = _wanted(request, "file", must_exist=True)
        target = _wanted(request, "dest", make_folder=True)
    except _RefusedError as refused:
        return web.Response(status=refused.status)
    if request.query.get("overwrite", "true") == "false" and target.exists():
        return web.Response(status=409, text="File already exists")
    source.replace(target)
    return _saved(request, target)


def _root(request: web.Request) -> Path:
    return machine(request).folders.user / "default"


def _inside(request: web.Request, name: str) -> Path | None:
    """A path below the user's folder, None for one outside. The server decodes names a second time."""
    root = os.path.abspath(_root(request))  # noqa: PTH100 (links are not resolved, as in the real server)
    if "%" in name:
        name = unquote(name)
    path = os.path.abspath(os.path.join(root, name))  # noqa: PTH100, PTH118
    return Path(path) if os.path.commonpath((root, path)) == root else None


def _wanted(request: web.Request, part: str, *, must_exist: bool = False, make_folder: bool = False) -> Path:
    path = _inside(request, request.match_info[part])
    if path is None:
        raise _RefusedError(403)
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    if must_exist and not path.exists():
        raise _RefusedError(404)
    return path


def _saved(request: web.Request, path: Path) -> web.Response:
    if request.query.get("full_info", "false").lower() == "true":
        return json_answer(_info(path, _root(request), machine(request).modern))
    return json_answer(path.relative_to(_root(request)).as_posix())


def _files(folder: Path, *, deep: bool) -> Iterator[Path]:
    """Files that a shell's * would find: none whose name starts with a dot."""
    for path in sorted(folder.rglob("*") if deep else folder.glob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _info(path: Path, root: Path, modern: bool) -> dict[str, Any]:
    stat = path.stat()
    facts = {"path": path.relative_to(root).as_posix(), "size": stat.st_size}
    if modern:
        return facts | {"modified": int(stat.st_mtime * 1000), "created": int(stat.st_ctime * 1000)}
    return facts | {"modified": stat.st_mtime, "created": stat.st_ctime}


def _tree_entry(path: Path, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": path.name, "path": path.relative_to(root).as_posix()}
    if path.is_dir():
        return entry | {"type": "directory"}
    stat = path.stat()
    return entry | {"type": "file", "size": stat.st_size, "modified": stat.st_mtime}


ROUTES = [
    web.get("/userdata", get_listing),
    web.get("/v2/userdata", get_tree),
    web.get("/userdata/{file}", get_file),
    web.post("/userdata/{file}", post_file),
    web.delete("/userdata/{file}", delete_file),
    web.post("/userdata/{file}/move/{dest}", move_file),
]
