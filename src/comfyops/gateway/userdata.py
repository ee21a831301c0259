"""/userdata, /settings and /users, answered for each owner from what the gateway keeps for them, as ComfyUI answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

from comfyops.auth.principal import Principal
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.kept import Entry, FullError, Kept
from comfyops.gateway.prompts import read_json
from comfyops.gateway.refusal import RefusedError, not_found

_ROUTES = ("/userdata", "/v2/userdata", "/settings", "/users")
_LONGEST = 512  # characters of a path
_FOLDERS = ("workflows/", "subgraphs/")  # which the page asks for before it has kept anything
_FILES = {"user.css": b"", "comfy.templates.json": b"[]"}  # and what it reads then


def serves(path: str) -> bool:
    """Whether a canonical path is one of these."""
    return path.startswith(_ROUTES) and any(path == route or path.startswith(f"{route}/") for route in _ROUTES)


class Userdata:
    """The routes, before the store that they work on."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def serve(self, exchange: Exchange, principal: Principal) -> None:
        """Answer a request for whoever asks. Raises RefusedError and StorageError."""
        try:
            await self._serve(exchange, principal.id)
        except FullError:
            words = "You keep as much as anybody may; delete something first."
            raise RefusedError(413, "no_room", words) from None

    async def _serve(self, exchange: Exchange, owner: str) -> None:
        method = "GET" if exchange.method == "HEAD" else exchange.method
        match method, _names(exchange):
            case "GET", ["users"]:
                await exchange.json(200, {"storage": "server", "migrated": True})
            case "GET", ["settings"]:
                await exchange.json(200, await self._settings(owner))
            case "GET", ["settings", name]:
                await exchange.json(200, (await self._settings(owner)).get(name))
            case "POST", ["settings"]:
                await self._change(exchange, owner, await _json(exchange))
            case "POST", ["settings", name]:
                await self._change(exchange, owner, {name: await _json(exchange)})
            case "GET", ["userdata"]:
                await self._listing(exchange, owner)
            case "GET", ["v2", "userdata"]:
                await self._tree(exchange, owner)
            case "GET", ["userdata", path]:
                await self._read(exchange, owner, path)
            case "POST", ["userdata", path]:
                await self._write(exchange, owner, path)
            case "DELETE", ["userdata", path]:
                await self._delete(exchange, owner, path)
            case "POST", ["userdata", path, "move", target]:
                await self._move(exchange, owner, path, target)
            case _:
                raise not_found()

    async def _settings(self, owner: str) -> dict[str, Any]:
        found = await asyncio.to_thread(self._kept.settings, owner)
        return {name: json.loads(value) for name, value in found.items()}

    async def _change(self, exchange: Exchange, owner: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise RefusedError(400, "invalid_body", "Settings are a JSON object.")
        texts = {name: json.dumps(value) for name, value in values.items()}
        await asyncio.to_thread(self._kept.change, owner, texts)
        await exchange.answer(200)

    async def _listing(self, exchange: Exchange, owner: str) -> None:
        """GET /userdata: files of a folder, as names, as split names or with their facts."""
        folder = _query(exchange, "dir")
        if not folder:
            raise RefusedError(400, "no_folder", "The query names no `dir`.")
        start = _start(folder)
        inside = [entry for entry in await self._files(owner) if entry.path.startswith(start)]
        if not inside and start not in ("", *_FOLDERS):
            raise RefusedError(404, "not_found", "There is no such folder here.")
        deep, full, split = (_query(exchange, name).lower() == "true" for name in ("recurse", "full_info", "split"))
        names = {entry.path.removeprefix(start): entry for entry in inside}
        shown = {name: entry for name, entry in names.items() if _is_shown(name, deep=deep)}
        if full:
            await exchange.json(200, [_info(name, entry) for name, entry in shown.items()])
        else:
            await exchange.json(200, [[name, *name.split("/")] for name in shown] if split else list(shown))

    async def _tree(self, exchange: Exchange, owner: str) -> None:
        """GET /v2/userdata: files and folders below a path, folders first."""
        start = _start(_query(exchange, "path"))
        files = await self._files(owner)
        if start and start[:-1] in {entry.path for entry in files}:
            raise RefusedError(400, "no_folder", "That is a file, not a folder.")
        inside = [entry for entry in files if entry.path.startswith(start)]
        if start and not inside:
            raise RefusedError(404, "not_found", "There is no such folder here.")
        found: list[dict[str, Any]] = [
            {"name": path.rpartition("/")[2], "path": path, "type": "directory"} for path in _folders(inside, start)
        ]
        for entry in inside:
            facts = {"type": "file", "size": entry.size, "modified": entry.modified}
            found.append({"name": entry.path.rpartition("/")[2], "path": entry.path, **facts})
        found.sort(key=lambda item: (item["type"] != "directory", item["name"].lower()))
        await exchange.json(200, found)

    async def _read(self, exchange: Exchange, owner: str, path: str) -> None:
        found = await asyncio.to_thread(self._kept.read, owner, _checked(path))
        data = _FILES.get(path) if found is None else found
        if data is None:
            raise _no_file()
        kind, place = _kind(path)
        disposition = (b"content-disposition", place)
        await exchange.answer(200, data, [(b"content-type", kind), disposition, (b"cache-control", b"no-store")])

    async def _write(self, exchange: Exchange, owner: str, path: str) -> None:
        _checked(path)
        data = await exchange.body(exchange.limits.prompt_bytes)
        overwrite = _query(exchange, "overwrite") != "false"
        entry = await asyncio.to_thread(self._kept.write, owner, path, data, overwrite=overwrite)
        await _saved(exchange, entry)

    async def _delete(self, exchange: Exchange, owner: str, path: str) -> None:
        if not await asyncio.to_thread(self._kept.delete, owner, _checked(path)):
            raise _no_file()
        await exchange.answer(204)

    async def _move(self, exchange: Exchange, owner: str, path: str, target: str) -> None:
        overwrite = _query(exchange, "overwrite") != "false"
        paths = (_checked(path), _checked(target))
        try:
            entry = await asyncio.to_thread(self._kept.move, owner, *paths, overwrite=overwrite)
        except KeyError:
            raise _no_file() from None
        await _saved(exchange, entry)

    async def _files(self, owner: str) -> tuple[Entry, ...]:
        return await asyncio.to_thread(self._kept.files, owner)


async def _saved(exchange: Exchange, entry: Entry | None) -> None:
    if entry is None:
        raise RefusedError(409, "file_exists", "A file of that name is there already.")
    full = _query(exchange, "full_info").lower() == "true"
    await exchange.json(200, _info(entry.path, entry) if full else entry.path)


async def _json(exchange: Exchange) -> Any:
    return read_json(await exchange.body(exchange.limits.small_bytes), exchange.limits)


def _names(exchange: Exchange) -> list[str]:
    """The parts of the path, without /api: a slash that was written %2F belongs to its part."""
    names = [unquote(part) for part in exchange.raw_path.decode("ascii").split("/")[1:]]
    if names and names[0].lower() == "api":
        del names[0]
    fixed = 2 if names[:1] and names[0].lower() == "v2" else 1
    return [*(name.lower() for name in names[:fixed]), *names[fixed:]]


def _query(exchange: Exchange, name: str) -> str:
    return parse_qs(exchange.query.decode("latin-1")).get(name, [""])[0]


def _start(folder: str) -> str:
    """What paths inside of a folder begin with. Raises RefusedError for what leads out of everything."""
    parts = [part for part in unquote(folder).replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusedError(403, "bad_path", "The folder is not one that is understood.")
    return "".join(f"{part}/" for part in parts)


def _no_file() -> RefusedError:
    return RefusedError(404, "not_found", "There is no such file here.")


def _checked(path: str) -> str:
    if len(path) > _LONGEST:
        raise RefusedError(400, "bad_path", f"The path has more than {_LONGEST} characters.")
    return path


def _is_shown(name: str, *, deep: bool) -> bool:
    return (deep or "/" not in name) and not any(part.startswith(".") for part in name.split("/"))


def _folders(entries: Iterable[Entry], start: str) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        folder = entry.path.rpartition("/")[0]
        while len(folder) >= len(start) and folder:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _info(name: str, entry: Entry) -> dict[str, Any]:
    times = {"modified": int(entry.modified * 1000), "created": int(entry.created * 1000)}
    return {"path": name, "size": entry.size, **times}


def _kind(path: str) -> tuple[bytes, bytes]:
    """Content-Type and Content-Disposition: nothing that a browser would run, but the page's own style."""
    if path == "user.css":
        return b"text/css; charset=utf-8", b"inline"
    return (b"application/json" if path.endswith(".json") else b"application/octet-stream"), b"attachment"
