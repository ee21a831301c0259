"""What is written down of refused strangers: each one up to a number in a minute, so that nobody fills the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from comfyops.auth.principal import Principal
from comfyops.auth.signing_in import network
from comfyops.gateway.door import Record

MOST = 100
"""Records of one network, of one action and one reason, in a minute."""

_KINDS = 50  # of these in a minute; what comes from yet more networks is counted together
_MINUTE = 60.0  # seconds


class Strangers:
    """A Record that passes on all but the many refusals of who is not known. `clock` gives seconds."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._ends = float("-inf")
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def __call__(
        self,
        action: str,
        principal: Principal | None = None,
        /,
        *,
        address: str,
        target: str = "",
        allowed: bool,
        reason: str,
    ) -> None:
        """Write one line, or none where there were too many. Raises StorageError."""
        count = 0 if allowed or principal is not None else self._count(action, reason, network(address))
        if count == MOST:
            reason = f"{reason}; more of these follow that are not recorded, for a minute at most"
        if count <= MOST:
            self._record(action, principal, address=address, target=target, allowed=allowed, reason=reason)

    def _count(self, action: str, reason: str, where: str) -> int:
        now = self._clock()
        if now >= self._ends:
            self._seen.clear()
            self._ends = now + _MINUTE
        key = action, reason, where
        if key not in self._seen and len(self._seen) >= _KINDS:
            key = action, reason, ""
        self._seen[key] += 1
        return self._seen[key]
