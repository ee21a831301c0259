"""SHA-256 along the frontier of a file that is still being written, read back from the page cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

from comfyops.models.transfer.request import MIB

_BLOCK = 2 * MIB


class FrontierHash:
    """Hashes a file from its start; `position` is how far. Reading and hashing leave other threads free to run."""

    def __init__(self, path: Path, others: int = 0) -> None:
        """`others` are how many more are open at the same time: together they take 32 MiB at most."""
        self.position = 0
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._block = min(_BLOCK, 32 * MIB // (1 + others))
        self._view = memoryview(bytearray(self._block))

    def advance(self, limit: int) -> None:
        """Hash on up to `limit` bytes from the file's start. Raises OSError, EOFError where the file is shorter."""
        while self.position < limit:
            got = self._file.readinto(self._view[: min(self._block, limit - self.position)])
            if not got:
                raise EOFError(f"the file ends at {self.position} bytes")
            self._hash.update(self._view[:got])
            self.position += got

    def hexdigest(self) -> str:
        """The SHA-256 of what was hashed, 64 hex digits."""
        return self._hash.hexdigest()

    def __enter__(self) -> FrontierHash:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a whole file, 64 hex digits. Raises OSError."""
    with FrontierHash(path) as hashing:
        hashing.advance(path.stat().st_size)
        return hashing.hexdigest()
