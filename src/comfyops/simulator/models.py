"""The model files that a simulated server says it has, and which of them are in its simulated VRAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Inventory:
    """Model files by folder."""

    folders: Mapping[str, tuple[str, ...]]


def default_inventory() -> Inventory:
    """One file of each kind that the shipped storyboards need."""
    return Inventory({"checkpoints": ("v1-5-pruned-emaonly-fp16.safetensors",)})


class Residency:
    """Models in VRAM, least recently used first."""

    def __init__(self, vram_bytes: int, sizes: Mapping[str, int], default_bytes: int) -> None:
        self._vram_bytes = vram_bytes
        self._sizes = sizes
        self._default = default_bytes
        self._resident: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        """VRAM in use."""
        return sum(self._resident.values())

    def size(self, name: str) -> int:
        """VRAM of a file."""
        return self._sizes.get(name, self._default)

    def load(self, name: str) -> bool:
        """Make a file resident; whether it had to be loaded."""
        known = self._resident.pop(name, None)
        while self._resident and self.used_bytes + self.size(name) > self._vram_bytes:
            self._resident.pop(next(iter(self._resident)))
        self._resident[name] = self.size(name)
        return known is None

    def clear(self) -> None:
        """Unload all."""
        self._resident.clear()
