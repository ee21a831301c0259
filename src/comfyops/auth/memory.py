"""A bounded memory: what was kept first goes first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """Values by the digest of a credential, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[bytes, V] = {}

    def get(self, key: bytes) -> V | None:
        """What is kept under this key."""
        return self._kept.get(key)

    def keep(self, key: bytes, value: V) -> None:
        """Keep a value, in the place of the oldest where there are too many."""
        if key not in self._kept and len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value

    def forget(self, key: bytes) -> None:
        """Keep it no longer."""
        self._kept.pop(key, None)

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._kept.values()))
