"""How much one owner may ask for."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 10_000  # owners and addresses


class Rates:
    """A bucket of tokens for each key: `burst` at once, `rate` per second after that."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one token at this time (seconds); gives 0.0, or the seconds to wait where there is none."""
        left, then = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        if left < 1.0:
            self._keep(key, (left, now))
            return (1.0 - left) / self._rate
        self._keep(key, (left - 1.0, now))
        return 0.0

    def _keep(self, key: str, bucket: tuple[float, float]) -> None:
        self._buckets[key] = bucket
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
