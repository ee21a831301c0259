"""Pure: in which order the jobs of several owners are to run at one server, so that each gets a turn.

A server runs the job with the smallest number first. Each job gets the number of a turn: an owner's next job comes one
turn after the one before, but never before the turn that runs now. Who sends one job waits for at most one job of
everybody else, however many those have sent (start-time fair queuing, with all jobs taken for equally long).
"""

from __future__ import annotations

from collections.abc import Iterable

_TURN = 1 << 20  # numbers in a turn; within it, who came first is first


class Turns:
    """The turns at one server."""

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}
        self._count = 0

    def seen(self, numbers: Iterable[object]) -> None:
        """Tell the numbers of the jobs that run, or that wait where none does: the smallest says what turn it is."""
        found = [int(number) // _TURN for number in numbers if isinstance(number, int | float) and 0 <= number < 2**53]
        self._now = max(self._now, min(found, default=0))
        self._last = {owner: turn for owner, turn in self._last.items() if turn > self._now}

    def take(self, owner: str) -> int:
        """The number for the next job of an owner."""
        turn = max(self._now, self._last.get(owner, 0)) + 1
        self._last[owner] = turn
        self._count = (self._count + 1) % _TURN
        return turn * _TURN + self._count
