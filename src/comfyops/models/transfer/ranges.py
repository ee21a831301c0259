"""Which bytes of a file are missing, and who fetches which of them. Pure: no clock, no network, no file.

    0          frontier                               size
    |##########|.....|####>.......|##>....|...........|
     written    gap   running      running  gap

A range is (start, end), `end` not included. All bytes before the frontier are written, so they can be hashed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from comfyops.models.transfer.request import MIB

Range = tuple[int, int]

SHORTEST = 4 * MIB
LONGEST = 64 * MIB
UNBOUNDED = 1 << 62
"""The size of a file whose end is not known before it comes."""
LEAST_STEAL = MIB
"""A part of somebody else's segment is taken only where both halves are at least so long."""


@dataclass(slots=True, eq=False)
class Segment:
    """A range that one connection fetches: what lies before `position` is written. `end` may come nearer meanwhile."""

    start: int
    end: int
    position: int

    @property
    def missing(self) -> int:
        """Bytes still to come; never negative, though a late thief can leave `position` beyond `end`."""
        return max(0, self.end - self.position)


class Ranges:
    """The state of one file. Callers hold their own lock; `Segment.position` alone is moved without it."""

    def __init__(self, size: int, written: Iterable[Range] = ()) -> None:
        self.size = size
        self.gaps: list[Range] = complement(merged(written), size)
        self.running: list[Segment] = []

    def take(self, length: int) -> Segment | None:
        """The first `length` bytes of the first gap as a segment; None where nothing is left to hand out."""
        if not self.gaps:
            return None
        start, end = self.gaps[0]
        stop = end if end - start <= length * 5 // 4 else start + length
        self.gaps[:1] = [(stop, end)] if stop < end else []
        return self._run(start, stop)

    def steal(self) -> Segment | None:
        """The second half of the running segment with most to come, None where all are nearly done."""
        victim = max(self.running, key=lambda segment: segment.missing, default=None)
        if victim is None or victim.missing < 2 * LEAST_STEAL:
            return None
        end = victim.end
        victim.end = middle = victim.position + (end - victim.position) // 2
        return self._run(middle, end)

    def cut(self) -> bool:
        """End the running segment with most to come where it is: the rest is a gap again. False where all are nearly
        done.
        """
        victim = max(self.running, key=lambda segment: segment.missing, default=None)
        if victim is None or victim.missing < LEAST_STEAL:
            return False
        end = victim.end
        victim.end = rest = victim.position
        self.gaps = merged([*self.gaps, (rest, end)])
        return True

    def give_back(self, segment: Segment) -> None:
        """A segment is no longer fetched; what is missing of it becomes a gap again."""
        self.running.remove(segment)
        if segment.missing:
            self.gaps = merged([*self.gaps, (segment.position, segment.end)])

    def forget_beyond_frontier(self) -> None:
        """Everything after the frontier is missing again, as one gap: for a source that sends whole files only."""
        start = self.frontier()
        for segment in self.running:
            segment.end = segment.start  # its thread sees that it is over; what it wrote is written once more
        self.gaps = [(start, self.size)] if start < self.size else []

    def end_at(self, size: int) -> None:
        """The file turns out to be so long: nothing beyond is missing any more."""
        self.size = size
        self.gaps = [(start, min(end, size)) for start, end in self.gaps if start < size]
        for segment in self.running:
            segment.end = min(segment.end, size)

    def frontier(self) -> int:
        """How many bytes from the start of the file are written without a gap."""
        gaps = (start for start, _ in self.gaps)
        positions = (segment.position for segment in self.running if segment.missing)
        return min([*gaps, *positions], default=self.size)

    def written(self) -> list[Range]:
        """What is written, in order."""
        open_ends = [(segment.position, segment.end) for segment in self.running if segment.missing]
        return complement(merged([*self.gaps, *open_ends]), self.size)

    def missing(self) -> int:
        """Bytes that are not written yet."""
        return sum(end - start for start, end in self.gaps) + sum(segment.missing for segment in self.running)

    def _run(self, start: int, end: int) -> Segment:
        segment = Segment(start, end, start)
        self.running.append(segment)
        return segment


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes as few ranges, in order; empty ones are left out."""
    result: list[Range] = []
    for start, end in sorted(item for item in ranges if item[0] < item[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def complement(ranges: Iterable[Range], size: int) -> list[Range]:
    """What merged ranges leave out of [0, size)."""
    result: list[Range] = []
    at = 0
    for start, end in ranges:
        if at < min(start, size):
            result.append((at, min(start, size)))
        at = max(at, end)
    if at < size:
        result.append((at, size))
    return result


def total(ranges: Iterable[Range]) -> int:
    """Bytes of merged ranges."""
    return sum(end - start for start, end in ranges)


def segment_length(latency: float, rate: float) -> int:
    """How long a segment should be, so that waiting for an answer costs a connection at most about 3 percent.

    `latency` in seconds until the first byte, `rate` in bytes per second of one connection.
    """
    return int(min(LONGEST, max(SHORTEST, 30 * latency * rate)))
