"""Runs that are found again by a key: whoever was killed and starts again goes on with what was begun."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid4, uuid5

from comfyops.backends.backend import Backend
from comfyops.backends.events import Outcome
from comfyops.errors import RunLostError

_MOST_TRIES = 50


async def run_id_of(backend: Backend, key: str) -> str:
    """The id under which to run what this key stands for.

    That of an earlier run which goes on or went well, so that submitting it again only finds it; else a new one, which
    is the same for everybody with this key until a run of it fails. Raises BackendErrors.
    """
    for number in range(_MOST_TRIES):
        run_id = str(uuid5(NAMESPACE_URL, f"comfyops:run:{key}:{number}"))
        try:
            end = await backend.result(run_id)
        except RunLostError:
            return run_id
        if end is None or end.outcome is Outcome.SUCCESS:
            return run_id
    return str(uuid4())
