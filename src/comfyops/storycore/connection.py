"""One connection to a server, shared by all who use it at the same time, closed when the last one leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfyops import app, config
from comfyops.backends.backend import Backend
from comfyops.backends.comfyui import ComfyUI
from comfyops.config import Settings
from comfyops.errors import BackendError
from comfyops.storycore.comfyui_config import ComfyUIConfig


class Connection:
    """A given backend, which is left open, or a client for the configured server (COMFYUI_URL, COMFYOPS_SERVER).

    The environment is read when a connection is first needed. May be used in one event loop after another.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        settings: Settings | None = None,
        comfyui_config: ComfyUIConfig | None = None,
        url: str | None = None,
    ) -> None:
        self._given = backend
        self._settings = settings
        self._address = url or (comfyui_config.server_url if comfyui_config else None)
        self._client: ComfyUI | None = None
        self._users = 0

    @property
    def settings(self) -> Settings:
        """The settings that count here. Raises UsageError for a variable that holds something impossible."""
        return config.override(self._settings or config.load(), server=self._address)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._given.url if self._given is not None else self.settings.server

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Backend]:
        """The backend, connected while the block runs. Nothing is sent by this."""
        if self._given is not None:
            yield self._given
            return
        if self._client is None:
            self._client = app.connect(self.settings)
        client = self._client
        self._users += 1
        try:
            yield client
        finally:
            self._users -= 1
            if not self._users:
                self._client = None
                await client.close()


async def memory_in_use(backend: Backend) -> float:
    """GB of the server's device memory in use, 0 where it does not say."""
    try:
        stats = await backend.system_stats()
    except BackendError:
        return 0.0
    return max((device.vram_total - device.vram_free for device in stats.devices), default=0) / 1024**3
