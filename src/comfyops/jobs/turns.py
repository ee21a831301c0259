"""Whose turn it is: backend time that each owner had, over its weight. Pure: no input or output, no clock."""

from __future__ import annotations

from collections.abc import Iterable


class Turns:
    """Owners' used time. An owner who comes back starts level with the others: no credit is saved up while away."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}

    def charge(self, owner: str, seconds: float, weight: float = 1.0) -> None:
        """Note that an owner was given `seconds` of a backend."""
        self._used[owner] = self._used.get(owner, 0.0) + max(0.0, seconds) / weight

    def of(self, present: Iterable[str]) -> dict[str, float]:
        """The time of each owner that has waiting or running jobs, the least at 0; the others are forgotten."""
        names = set(present)
        known = [used for owner, used in self._used.items() if owner in names]
        least = min(known, default=0.0)
        self._used = {owner: self._used.get(owner, least) - least for owner in names}
        return dict(self._used)
