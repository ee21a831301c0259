"""Trying a backend now, because somebody asks: does it answer, and does it make a tiny picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import ComfyOpsError
from comfyops.jobs import fleet
from comfyops.jobs.probing import canary
from comfyops.jobs.queue import Queue

_ANSWER = 10.0  # seconds that it has for one answer


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of a backend from this machine. Times in milliseconds; `why` says what is wrong, or left out."""

    name: str
    url: str
    answers: bool = False
    version: str = ""
    latency_ms: float | None = None
    canary: Literal["made", "failed", "left out"] = "left out"
    canary_ms: float | None = None
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing speaks against giving it jobs."""
        return self.answers and self.canary != "failed"


async def examine(queue: Queue, name: str, seconds: float) -> Examined:
    """Ask a backend what it is, and have it make a tiny picture within so many seconds unless it has a job.

    Its dispatcher looks at it anew afterwards. Raises UnknownBackendError.
    """
    row = await queue.fleet.get(name)
    url, token = await queue.store.read(lambda connection: fleet.address(connection, name))
    found = Examined(name, url)
    try:
        async with ComfyUI(url, token=token or None, timeout=_ANSWER) as client:
            found = await _answering(found, client)
            if row.job is not None:
                return replace(found, why=f"It has the job {row.job}, behind which a canary would wait.")
            found = await _with_canary(found, client, seconds)
    except ComfyOpsError as error:
        found = replace(found, why=error.message, canary="failed" if found.answers else found.canary)
    await queue.fleet.look_again(name)
    return found


async def _answering(found: Examined, client: ComfyUI) -> Examined:
    began = time.perf_counter()
    stats = await client.system_stats()
    return replace(found, answers=True, version=stats.version, latency_ms=_since(began))


async def _with_canary(found: Examined, client: ComfyUI, seconds: float) -> Examined:
    began = time.perf_counter()
    await canary(client, seconds)
    return replace(found, canary="made", canary_ms=_since(began))


def _since(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 1)
