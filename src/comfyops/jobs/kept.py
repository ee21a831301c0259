"""What is known of the bytes of a kept file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from blake3 import blake3


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is kept: its BLAKE3, SHA-256 and size in bytes."""

    hash: str
    sha256: str
    size: int


class Measure:
    """Takes the bytes of a file in pieces."""

    def __init__(self) -> None:
        self._fast, self._slow, self._size = blake3(), hashlib.sha256(), 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self._fast.update(piece)
        self._slow.update(piece)
        self._size += len(piece)

    def result(self) -> Kept:
        """What all pieces together are."""
        return Kept(self._fast.hexdigest(), self._slow.hexdigest(), self._size)
