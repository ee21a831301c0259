"""JSON answers from frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


def json_answer(data: Any, *, status: int = 200) -> web.Response:
    """A JSON answer; read-only mappings count as objects."""
    return web.json_response(data, status=status, dumps=lambda value: json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)
