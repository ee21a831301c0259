"""A request that is not passed on, and how that is said: never with a path, a version or a trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_CONTRACT = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "payload_too_large"}


class RefusedError(Exception):
    """A request is refused: the status to answer with, a stable code, a sentence.

    It stays inside the gateway. `node_errors` are in ComfyUI's own shape, so that its clients can show them.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: str = "",
        node_errors: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.node_errors = node_errors
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The JSON of the answer; `type`, `details` and `extra_info` are what ComfyUI's clients look for."""
        error = {
            "code": self.code,
            "type": self.code,
            "message": self.message,
            "details": self.details,
            "extra_info": {},
        }
        return json.dumps({"error": error, "node_errors": self.node_errors or {}}).encode()

    def contract_body(self) -> bytes:
        """The JSON of the answer as the contract of Comfy API v2 has it."""
        code = _CONTRACT.get(self.status, self.code)
        return json.dumps({"error": {"code": code, "message": self.message, "details": {"reason": self.code}}}).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that belong to this refusal."""
        found = []
        if self.status == 401:
            found.append((b"www-authenticate", b'Bearer realm="comfyops", Basic realm="comfyops", charset="UTF-8"'))
        if self.retry_after is not None:
            found.append((b"retry-after", str(self.retry_after).encode()))
        return found


def not_found() -> RefusedError:
    """What is said of all that is not there, or not for the one who asks."""
    return RefusedError(404, "not_found", "There is no such thing here.")


def duplicate() -> RefusedError:
    """What is said of a second job with the id of another."""
    return RefusedError(409, "duplicate_prompt_id", "A job of this prompt_id was sent before.")
