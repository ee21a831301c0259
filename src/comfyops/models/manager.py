"""Models fetched by ComfyUI-Manager on the server that it runs on, where nothing can be written from here.

Source: the routes of ComfyUI-Manager 3 (`/manager/...`, a custom node) and 4 (`/v2/manager/...`), as users describe
them: `version`, `externalmodel/getlist`, `queue/install_model`, `queue/start`, `queue/status`. Version 4 without its
old page has no list and takes any address; the others fetch only what their own list holds. All of them only where
their security level allows it; what they fetched is not verified by a hash.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from comfyops.errors import UnsupportedError
from comfyops.models.entry import ModelEntry
from comfyops.models.folders import ALIASES
from comfyops.models.sources.web import Answer, Web

LOOK_EVERY = 2.0
"""Seconds between two looks at the manager's queue."""

_PREFIXES = ("/v2", "")
_WHY = {
    400: "it is not in ComfyUI-Manager's own list",
    403: "ComfyUI-Manager's security level forbids it",
    404: "this ComfyUI-Manager has no such route",
}


@dataclass(frozen=True, slots=True)
class Handled:
    """What the manager made of a model; `why` says what is wrong where it is not there afterwards."""

    entry: ModelEntry
    there: bool
    why: str = ""


@dataclass(frozen=True)
class Manager:
    """The ComfyUI-Manager of one server."""

    server: str
    prefix: str
    web: Web

    def install(self, entries: Sequence[ModelEntry], timeout: float, every: float = LOOK_EVERY) -> tuple[Handled, ...]:
        """Have the server fetch models, and wait at most `timeout` seconds until it has.

        Raises DownloadError where it no longer answers.
        """
        missing = [entry for entry in entries if not self._has(entry)]
        listed = self._listed() if missing else ()
        refused: dict[str, str] = {}
        for entry in missing:
            item = _own(entry) if listed is None else _matching(entry, listed)
            if item is None:
                refused[entry.id] = _WHY[400] if listed is not None else "no address of it is known"
                continue
            answer = self.web.post(self._at("manager/queue/install_model"), item)
            if answer.status != 200:
                refused[entry.id] = _WHY.get(answer.status, f"ComfyUI-Manager answered {answer.status}")
        if len(refused) < len(missing):
            self._start()
            self._wait(time.monotonic() + timeout, every)
        return tuple(self._handled(entry, refused.get(entry.id, "")) for entry in entries)

    def _handled(self, entry: ModelEntry, refused: str) -> Handled:
        there = self._has(entry)
        return Handled(entry, there, "" if there else refused or "the server did not get it; see its log")

    def _has(self, entry: ModelEntry) -> bool:
        """Whether the server's nodes see the file."""
        old = [name for name, new in ALIASES.items() if new == entry.folder]
        for folder in (entry.folder, *old):
            answer = self.web.ask("GET", f"{self.server}/models/{quote(folder)}")
            names = answer.json() if answer.status == 200 else []
            if isinstance(names, list) and entry.file in (str(name).replace("\\", "/") for name in names):
                return True
        return False

    def _listed(self) -> Sequence[Mapping[str, Any]] | None:
        """What it knows by itself; None where it keeps no list and takes any address."""
        answer = self.web.ask("GET", self._at("externalmodel/getlist?mode=cache"))
        if answer.status == 404 and self.prefix:
            return None
        data = answer.json() if answer.status == 200 else {}
        models = data.get("models") if isinstance(data, dict) else None
        return [item for item in models or [] if isinstance(item, Mapping)]

    def _start(self) -> Answer:
        answer = self.web.post(self._at("manager/queue/start"), {})
        return answer if answer.status != 405 else self.web.ask("GET", self._at("manager/queue/start"))

    def _wait(self, deadline: float, every: float) -> None:
        while time.monotonic() < deadline:
            answer = self.web.ask("GET", self._at("manager/queue/status"))
            state = answer.json() if answer.status == 200 else {}
            if not (isinstance(state, dict) and state.get("is_processing")):
                return
            time.sleep(every)

    def _at(self, route: str) -> str:
        return f"{self.server}{self.prefix}/{route}"


def find(server: str, web: Web) -> Manager:
    """The manager of a server.

    Raises UnsupportedError where there is none, DownloadError where nothing answers.
    """
    address = server.rstrip("/")
    for prefix in _PREFIXES:
        if web.ask("GET", f"{address}{prefix}/manager/version").status == 200:
            return Manager(address, prefix, web)
    words = f"{address} has no ComfyUI-Manager."
    raise UnsupportedError(
        words, hint="Start ComfyUI with --enable-manager, or use `comfyops models download --manual`."
    )


def _own(entry: ModelEntry) -> dict[str, Any] | None:
    """An item of our own for a model; None where no address is known."""
    if not entry.urls:
        return None
    path = PurePosixPath(entry.folder, entry.file)
    return {
        **{"name": entry.id, "type": entry.folder, "base": "", "save_path": str(path.parent)},
        **{"url": entry.urls[0], "filename": path.name, "ui_id": entry.id, "client_id": "comfyops"},
    }


def _matching(entry: ModelEntry, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The manager's own item for a model: the same address, or the same file for the same folder."""
    names = {entry.folder, *(old for old, new in ALIASES.items() if new == entry.folder)}
    for item in listed:
        place = str(item.get("save_path") or "").split("/")[0]
        same = item.get("filename") == entry.file.rpartition("/")[2] and (place in names or item.get("type") in names)
        if same or (item.get("url") in entry.urls and item.get("filename") == entry.file.rpartition("/")[2]):
            return {**item, "ui_id": entry.id, "client_id": "comfyops"}
    return None
