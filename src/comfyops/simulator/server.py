"""A ComfyUI-compatible server without torch or GPU, in this process.

async with Simulator(SimulatorSettings(port=0)) as simulator:
    ...  # talk to simulator.url
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from types import TracebackType

from aiohttp import web

from comfyops.errors import UsageError
from comfyops.simulator.files import Folders
from comfyops.simulator.machine import MACHINE, Machine
from comfyops.simulator.middleware import MAX_BODY, middlewares
from comfyops.simulator.routes import add_routes
from comfyops.simulator.settings import SimulatorSettings


class Simulator:
    """One simulated server; `start` and `stop` it, or use it as an async context manager."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self.machine: Machine | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, such as http://127.0.0.1:8188."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.port}"

    @property
    def folders(self) -> Folders:
        """Where its files are."""
        assert self.machine is not None, "the simulator is not started"
        return self.machine.folders

    async def start(self) -> Simulator:
        """Make the folders, listen, and start to run prompts.

        Raises UsageError where the address cannot be used, MissingExtraError where the page is wanted but not there.
        """
        folders = Folders(self._home())
        folders.prepare()
        self._closed.clear()
        self._ending = None
        self.machine = Machine(self.settings, folders, self._die)
        app = web.Application(client_max_size=MAX_BODY, middlewares=middlewares())
        app[MACHINE] = self.machine
        add_routes(app, self.settings)
        await self._listen(app)
        self._tasks = [asyncio.create_task(work()) for work in (self.machine.work, self.machine.sockets.serve)]
        return self

    async def stop(self) -> None:
        """Close the sockets, stop listening, and remove the temporary folder."""
        if self._ending is not None:
            await self._ending
        await self._end(abort=False)

    async def wait_closed(self) -> None:
        """Wait until it is stopped or has died of a fault."""
        await self._closed.wait()

    async def __aenter__(self) -> Simulator:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _home(self) -> Path:
        if self.settings.home is not None:
            return self.settings.home
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="comfyops-simulator-")
        return Path(self._temporary.name)

    async def _listen(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UsageError(
                f"The simulator cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror or error}.",
                hint="Choose another port with --port.",
            ) from error
        self.port = self._runner.addresses[0][1]

    def _die(self) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(abort=True))

    async def _end(self, *, abort: bool) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if self.machine is not None:
            if abort:
                self.machine.sockets.abort()
            else:
                await self.machine.sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
        self._closed.set()
