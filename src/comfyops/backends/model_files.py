"""The model files that a server says it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from comfyops.backends.http import Http
from comfyops.errors import BackendError, NotComfyUIError, UnsupportedError

NO_MODELS = frozenset({"configs", "custom_nodes"})
"""Folders that servers list beside those of models."""


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One file: the folder's name, the file's name as nodes know it, and its bytes (None = the server does not say)."""

    folder: str
    name: str
    size: int | None


async def read(http: Http) -> tuple[ServerModel, ...]:
    """Every file of every folder, by folder and name; a name that lies in several paths of a folder once.

    Servers without the route that tells sizes are asked for the names. Raises UnsupportedError where a server tells
    neither, other BackendErrors.
    """
    root, folders = await _folders(http)
    wanted = sorted(set(folders) - NO_MODELS)
    answers = await asyncio.gather(*(http.get(f"{root}/{quote(name, safe='')}") for name in wanted))
    found: dict[tuple[str, str], ServerModel] = {}
    for folder, answer in zip(wanted, answers, strict=True):
        for item in _listed(answer, f"{root}/{folder}"):
            model = _model(folder, item)
            if model is not None:
                found.setdefault((folder, model.name), model)
    return tuple(found[key] for key in sorted(found))


async def _folders(http: Http) -> tuple[str, list[str]]:
    """The route that this server has for its models, and the folders that it names there."""
    for root in ("/experiment/models", "/models"):
        try:
            return root, _names(await http.get(root), root)
        except BackendError as error:
            if error.facts.get("status") not in (404, 405):
                raise
    raise UnsupportedError(f"{http.url} does not tell which models it has.")


def _names(answer: Any, route: str) -> list[str]:
    names = (item.get("name") if isinstance(item, Mapping) else item for item in _listed(answer, route))
    return [name for name in names if isinstance(name, str) and name]


def _listed(answer: Any, route: str) -> list[Any]:
    if not isinstance(answer, list):
        raise NotComfyUIError(f"The answer to {route} is not ComfyUI's: it is no list.", route=route)
    return answer


def _model(folder: str, item: Any) -> ServerModel | None:
    if isinstance(item, str):
        return ServerModel(folder, item, None)
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        return None
    size = item.get("size")
    return ServerModel(folder, item["name"], size if isinstance(size, int) and size >= 0 else None)
