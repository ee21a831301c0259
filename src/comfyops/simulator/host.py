"""What a running node may ask of the simulated server: time, progress, pictures, models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from comfyops.simulator.call import InterruptedRun
from comfyops.simulator.progress import Progress
from comfyops.simulator.settings import SimulatorSettings

Load = Callable[[str, str], Awaitable[float]]
"""Makes a model file (folder, name) resident; gives the seconds that the load takes, 0 where it was resident."""


class Interrupt:
    """The server's one interrupt flag, reset at the start of each run."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Interrupt whatever runs."""
        self._event.set()

    def reset(self) -> None:
        """Forget an earlier interrupt."""
        self._event.clear()

    def check(self) -> None:
        """Raises InterruptedRun once the flag is set; the flag is then spent."""
        if self._event.is_set():
            self._event.clear()
            raise InterruptedRun

    async def sleep(self, seconds: float) -> None:
        """Let time pass. Raises InterruptedRun as soon as the flag is set."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self._event.wait(), seconds)
            except TimeoutError:
                return
        else:
            await asyncio.sleep(0)
        self.check()


@dataclass
class NodeHost:
    """The host of one node of one run."""

    settings: SimulatorSettings
    input_folder: Path
    output_folder: Path
    temp_folder: Path
    node_id: str
    interrupt: Interrupt
    reporter: Progress
    load: Load
    on_progress: Callable[[], Awaitable[None]]
    took_time: bool = False

    async def pause(self, seconds: float) -> None:
        """Let simulated time pass; raises InterruptedRun as soon as the run is interrupted."""
        self.took_time = True
        await self.interrupt.sleep(seconds * self.settings.faults.slow_factor)

    async def progress(self, value: int, maximum: int, preview: bytes | None = None) -> None:
        """Report progress; a preview goes out to the client. Raises InterruptedRun once interrupted."""
        self.interrupt.check()
        self.reporter.update(self.node_id, value, maximum, preview)
        await self.on_progress()
        await asyncio.sleep(0)

    async def send_image(self, image: bytes) -> None:
        """Send a finished picture to the run's client, as the server sends previews."""
        self.interrupt.check()
        self.reporter.picture(self.node_id, image)

    async def send_text(self, text: str) -> None:
        """Send a text to the run's client."""
        self.reporter.text(self.node_id, text)

    async def load_model(self, folder: str, name: str) -> None:
        """Make a model file resident; takes simulated time where it is not."""
        seconds = await self.load(folder, name)
        if seconds:
            await self.pause(seconds)

    async def finish(self) -> None:
        """Let the time of an ordinary node pass, unless this node took its own."""
        if not self.took_time and self.settings.seconds_per_node > 0:
            await self.pause(self.settings.seconds_per_node)
