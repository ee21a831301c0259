"""bcrypt in a few threads of low priority, so that nobody's request waits for somebody's sign-in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from comfyops.auth import credentials


def workers() -> int:
    """How many hashes are worked on at once: half of the processors."""
    return max(1, (os.cpu_count() or 2) // 2)


class Hasher:
    """Checks and makes hashes in threads of its own. bcrypt lets other threads run while it works."""

    def __init__(self, name: str, rounds: int) -> None:
        self._rounds = rounds
        self._pool = ThreadPoolExecutor(workers(), thread_name_prefix=f"bcrypt-{name}", initializer=_step_back)
        self._nobody: str | None = None

    async def matches(self, secret: str, wanted: str | None) -> bool:
        """Whether this is the secret of a hash. None takes as long as a hash, and is False."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._compare, secret, wanted)

    async def hashed(self, secret: str) -> str:
        """A fresh hash."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, credentials.hashed, secret, self._rounds)

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compare(self, secret: str, wanted: str | None) -> bool:
        if wanted is not None:
            return credentials.matches(secret, wanted)
        if self._nobody is None:
            self._nobody = credentials.hashed("nobody", self._rounds)
        credentials.matches(secret, self._nobody)
        return False


def _step_back() -> None:
    """Give this thread a lower priority, where the system can do that to one thread."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
