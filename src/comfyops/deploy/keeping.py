"""A ComfyUI that is kept alive: started anew when it ends or does nothing more, after growing pauses, not forever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from comfyops.deploy.launch import START_SECONDS, LaunchPlan, Running, ended, running
from comfyops.errors import LaunchError
from comfyops.support.processes import OnLine

Status = Literal["starting", "running", "restarting", "given up"]
Listener = Callable[[Status, str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often it is started anew: at most `restarts` times within `window`, after pauses that double. Seconds."""

    first: float = 1.0
    most: float = 60.0
    restarts: int = 5
    window: float = 600.0

    def pause(self, ends: Sequence[float], now: float) -> float | None:
        """How long to wait before the next start, after these ends; None: it has ended too often."""
        recent = sum(now - end < self.window for end in ends)
        return None if recent > self.restarts else min(self.most, self.first * 2.0 ** max(0, recent - 1))


class Keeper:
    """A ComfyUI of this machine, kept. `status` is how it is now, `restarts` how often it was started anew.

    Listeners are told of every change, and why.
    """

    def __init__(self, plan: LaunchPlan, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = plan.spec.url
        self.status: Status = "starting"
        self.restarts = 0
        self.current: Running | None = None
        self._plan = plan
        self._patience = patience
        self._clock = clock
        self._listeners: list[Listener] = []
        self._ends: list[float] = []
        self._dead = asyncio.Event()
        self._why = ""  # it is dead

    def tell(self, listener: Listener) -> None:
        """Tell this one too."""
        self._listeners.append(listener)

    def dead(self, why: str) -> None:
        """It does nothing any more: it is to be started anew. `why` is a sentence."""
        if self.status == "running":
            self._why = why
            self._dead.set()

    async def keep(
        self,
        environment: Mapping[str, str],
        first: asyncio.Future[Running],
        *,
        on_line: OnLine | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """Run it until cancelled, or until it has ended too often; `first` gets its first start, or why it failed."""
        while True:
            try:
                async with running(self._plan, environment, on_line=on_line, start_seconds=start_seconds) as comfyui:
                    self._dead.clear()
                    self.current = comfyui
                    self._change("running", " ".join(f"ComfyUI {comfyui.version} answers.".split()))
                    if not first.done():
                        first.set_result(comfyui)
                    why = await self._end(comfyui)
            except LaunchError as error:
                why = error.message
                if not first.done():
                    first.set_exception(error)
                    return
            self._ends.append(self._clock())
            pause = self._patience.pause(self._ends, self._clock())
            if pause is None:
                self._change("given up", why)
                return
            self._change("restarting", why)
            await asyncio.sleep(pause)
            self.restarts += 1

    async def _end(self, comfyui: Running) -> str:
        """Wait until it ends or is said to be dead; gives why."""
        waits = [asyncio.ensure_future(comfyui.process.wait()), asyncio.ensure_future(self._dead.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for item in waits:
                item.cancel()
        if comfyui.process.exit_code is None:
            return self._why
        await asyncio.sleep(0.1)  # its last words are still being read
        return ended(comfyui.process, comfyui.log, "ended by itself").message

    def _change(self, status: Status, why: str) -> None:
        self.status = status
        for listener in self._listeners:
            listener(status, why)


@asynccontextmanager
async def kept(
    plan: LaunchPlan,
    environment: Mapping[str, str],
    *,
    patience: Patience | None = None,
    on_line: OnLine | None = None,
    start_seconds: float = START_SECONDS,
) -> AsyncIterator[Keeper]:
    """A ComfyUI that is kept while the block runs, from its first answer on; it is stopped at the end.

    Raises LaunchError and PortInUseError where it does not start at all, StorageError for its log.
    """
    keeper = Keeper(plan, patience or Patience())
    first: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(keeper.keep(environment, first, on_line=on_line, start_seconds=start_seconds))
    try:
        waits: list[asyncio.Future[Any]] = [task, first]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not first.done():
            task.result()
        await first
        yield keeper
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
