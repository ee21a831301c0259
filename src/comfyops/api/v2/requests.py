"""Who asks, and bodies read within bounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from comfyops.api.v2.faults import ApiError
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.gateway import prompts
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Limits

MAX_KEY = 255
"""Characters of an idempotency key."""

_LIMITS = Limits()


class _BoundedRequest(Request):
    """A request whose JSON is bounded in size and depth, without NaN."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            pieces, size = [], 0
            async for piece in self.stream():
                size += len(piece)
                if size > _LIMITS.prompt_bytes:
                    raise ApiError(413, "payload_too_large", f"The body is larger than {_LIMITS.prompt_bytes} bytes.")
                pieces.append(piece)
            self._body = b"".join(pieces)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = prompts.read_json(await self.body(), _LIMITS)
        return self._json


class BoundedRoute(APIRoute):
    """A route that reads its JSON within bounds."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a bounded request."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            own = _BoundedRequest(request.scope, request.receive)
            if self.body_field is not None and request.headers.get("content-type", "").startswith("application/json"):
                try:
                    await own.json()
                except RefusedError as refused:
                    raise ApiError(400, "invalid_request", refused.message) from refused
            return await handler(own)

        return bounded


def principal(request: Request) -> Principal:
    """Who asks, as the gateway let him in. Raises ApiError where nobody did."""
    found = request.scope.get("state", {}).get("principal")
    if not isinstance(found, Principal):
        raise ApiError(401, "unauthorized", "This needs a credential.")
    return found


def owner_seen(request: Request) -> str | None:
    """Whose jobs may be seen and changed: one's own, None = everybody's."""
    found = principal(request)
    return None if found.may(scopes.JOBS_ALL) else found.id


def base(request: Request) -> str:
    """Scheme and host by which the client came."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def idempotency_key(request: Request) -> str | None:
    """The key of the request, if any. Raises ApiError for one that is empty or too long."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise ApiError(400, "invalid_request", f"The Idempotency-Key has not between 1 and {MAX_KEY} characters.")
    return key


def digest(body: BaseModel) -> str:
    """What tells two requests of one key apart."""
    text = json.dumps(body.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
