"""How much one owner may ask for, and how many connections one address may have."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Container

from comfyops.auth.signing_in import network

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


class Places:
    """At most `most` connections of one address at once, of IPv6 of one /64; of `exempt` ones as many as they want.

    Only addresses that have a connection are remembered.
    """

    def __init__(self, most: int, exempt: Container[str] = frozenset()) -> None:
        self.most = most
        self._exempt = exempt
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many addresses have one."""
        return len(self._taken)

    def take(self, address: str) -> Place | None:
        """A place for one more connection, None where all of the address are taken; "" is no address."""
        if not address or address in self._exempt:
            return Place(self, "")
        key = network(address)
        if self._taken[key] >= self.most:
            return None
        self._taken[key] += 1
        return Place(self, key)

    def give_back(self, key: str) -> None:
        """One of the places of an address is free again."""
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]


class Place:
    """The place of one connection."""

    __slots__ = ("_key", "_places")

    def __init__(self, places: Places, key: str) -> None:
        self._places = places
        self._key = key

    def leave(self) -> None:
        """The connection has ended; to say so again does nothing."""
        key, self._key = self._key, ""
        if key:
            self._places.give_back(key)
