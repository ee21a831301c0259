"""A breaker that stops asking a server which keeps failing, for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from comfyops.errors import BackendError, UnsupportedError
from comfyops.storycore.advanced_workflow_base import WorkflowExecutionError


class CircuitBreaker:
    """After `failures` failures of a server in a row, refuses for `seconds`; then one try is let through."""

    def __init__(self, failures: int = 5, seconds: float = 60.0) -> None:
        self._most, self._seconds = failures, seconds
        self._failed = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it refuses now."""
        return time.monotonic() < self._open_until

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Count how the block ends. Raises WorkflowExecutionError instead of running it while it refuses."""
        if self.is_open:
            left = self._open_until - time.monotonic()
            message = f"The server failed {self._failed} times in a row; it is not asked for another {left:.0f} s."
            raise WorkflowExecutionError("", message, hint="Look at the server, or wait.")
        try:
            yield
        except (UnsupportedError, WorkflowExecutionError):  # it answers, and says what it lacks
            raise
        except BackendError:
            self._failed += 1
            if self._failed >= self._most:
                self._open_until = time.monotonic() + self._seconds
            raise
        else:
            self._failed, self._open_until = 0, 0.0
