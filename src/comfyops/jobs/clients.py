"""The clients of one process for its backends: one each, kept open."""

from __future__ import annotations

from dataclasses import dataclass

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.watching import Pace
from comfyops.jobs import fleet
from comfyops.jobs.store import Store


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Times in seconds: for one answer, without any progress, and away before a run counts as lost."""

    timeout: float = 30.0
    stall_timeout: float = 600.0
    away: float = 60.0
    api_prefix: str = ""


class Clients:
    """Gives the client of a backend by its name."""

    def __init__(self, store: Store, name: str, settings: ClientSettings) -> None:
        self._store = store
        self._name = name
        self._settings = settings
        self._open: dict[str, tuple[tuple[str, str], ComfyUI]] = {}

    async def get(self, backend: str) -> ComfyUI:
        """The client of a backend; a fresh one where its address or token changed. Raises UnknownBackendError."""
        address = await self._store.read(lambda connection: fleet.address(connection, backend))
        known = self._open.get(backend)
        if known is not None and known[0] == address:
            return known[1]
        client = self._make(*address)
        self._open[backend] = (address, client)
        if known is not None:
            await known[1].close()
        return client

    def known(self, backend: str) -> ComfyUI | None:
        """The client that was given for a backend last."""
        found = self._open.get(backend)
        return found[1] if found is not None else None

    async def close(self) -> None:
        """Close all."""
        for _, client in self._open.values():
            await client.close()
        self._open.clear()

    def _make(self, url: str, token: str) -> ComfyUI:
        settings = self._settings
        return ComfyUI(
            url,
            token=token or None,
            api_prefix=settings.api_prefix,
            timeout=settings.timeout,
            stall_timeout=settings.stall_timeout,
            client_id=f"comfyops-{self._name}",
            pace=Pace(away=settings.away),
        )
