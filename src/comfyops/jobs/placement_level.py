"""The groups of one priority in a round of placement; see `placement` for the rules.

Orders are heaps whose entries only grow worse while jobs are given out: an entry is looked at again at the top.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from comfyops.jobs.situation import Standing, Why

if TYPE_CHECKING:
    from comfyops.jobs.placement import Kind, Round

Rank = tuple[bool, float, float, float, float, int]


class Level:
    """The groups of one priority in a round."""

    def __init__(self, round_: Round, indices: list[int]) -> None:
        self._round = round_
        self._indices = indices
        self._queues: dict[tuple[str, Kind], list[tuple[float, float, int]]] = {}
        self._lines: dict[Kind, list[Rank]] = {}
        self._of: defaultdict[str, list[int]] = defaultdict(list)
        for index in indices:
            self._of[round_.group(index).needs.model_set].append(index)
        owners = {round_.group(index).owner for index in indices} | set(round_.active())
        whole = sum(round_.weight(owner) for owner in owners)
        self._shares = {owner: round_.size * round_.weight(owner) / whole for owner in owners}

    def decide(self) -> None:
        """Rescue, go on with loaded models, then find work for spare backends."""
        self._rescue()
        later = [standing for standing in list(self._round.free.values()) if not self._go_on(standing, first=True)]
        for standing in later:
            if self._next(standing) is not None:
                self._go_on(standing, first=False)
        for standing in sorted(later, key=lambda item: (item.loaded != "", item.loaded_since)):
            if standing.backend in self._round.free:
                self._take_spare(standing)

    def _rescue(self) -> None:
        """Groups that nobody serves and that have waited too long take backends whose turn is over."""
        now = self._round.now
        bound = now - self._round.rules.age_bound
        groups = [(self._round.group(index).waiting_since, index) for index in self._indices]
        aged = sorted(item for item in groups if item[0] <= bound and self._round.group(item[1]).needs.model_set)
        aged = [(since, index) for since, index in aged if self._round.may(index) and not self._round.servers(index)]
        if not aged:
            return
        spare, working = self._spare_and_working()
        for since, index in aged:
            if self._round.servers(index) or self._reserve(spare, index):
                continue
            standing = next((item for item in working if self._can_take(item, index)), None)
            if standing is not None:
                reason = f"no backend had its models for {now - since:.0f} s: it takes the next one"
                self._round.give(standing, index, Why.AGE, reason)

    def _spare_and_working(self) -> tuple[Counter[Kind], list[Standing]]:
        """The kinds of free backends without work for their models, and the others: those missed least first."""
        spare: Counter[Kind] = Counter()
        working: list[tuple[float, float, Standing]] = []
        for standing in self._round.free.values():
            index = self._next(standing)
            if index is None:
                spare[self._round.kind(standing)] += 1
            else:
                working.append((-self._round.servers(index), standing.loaded_since, standing))
        return spare, [standing for *_, standing in sorted(working, key=lambda item: item[:2])]

    def _reserve(self, spare: Counter[Kind], index: int) -> bool:
        """Leave the group to a spare backend, where there is one for it: that will take it in this round anyway."""
        kind = next((kind for kind, count in spare.items() if count and self._round.suits(index, kind)), None)
        if kind is not None:
            spare[kind] -= 1
        return kind is not None

    def _can_take(self, standing: Standing, index: int) -> bool:
        return (
            standing.backend in self._round.free
            and self._round.suits(index, self._round.kind(standing))
            and self._turn_is_over(standing, index)
        )

    def _turn_is_over(self, standing: Standing, index: int) -> bool:
        """Whether a backend has had its models for long enough to change them for a group's."""
        had = self._round.now - standing.loaded_since
        return had >= self._round.rules.turn * self._round.group(index).load

    def _go_on(self, standing: Standing, *, first: bool) -> bool:
        """Give a backend a job for the models it has, or one of a queue that needs it more; False = not now."""
        index = self._next(standing)
        if index is None:
            return False
        group = self._round.group(index)
        if first and self._round.running(group.owner) + 1 > math.ceil(self._shares[group.owner]):
            return False
        other = self._longer(standing, index)
        if other is not None:
            wait, servers = self._round.drain(other), self._round.servers(other)
            reason = f"{having(servers)} its models and would take {wait:.0f} s: another one helps"
            self._round.give(standing, other, Why.BALANCE, reason)
            return True
        other = None if first else self._deprived(standing, group.owner)
        if other is not None:
            owner = self._round.group(other).owner
            reason = f"{owner} has {self._round.running(owner)} backends, its share is {self._shares[owner]:.1f}"
            self._round.give(standing, other, Why.SHARE, reason)
            return True
        needed = group.needs.model_set
        why = Why.LOADED if needed else Why.NOTHING_NEEDED
        self._round.give(standing, index, why, "its models are loaded there" if needed else "it needs no models")
        return True

    def _next(self, standing: Standing) -> int | None:
        """The group to go on with: of those whose models the backend has, the one whose owner's turn it is."""
        kind = self._round.kind(standing)
        key = (standing.loaded, kind)
        if key not in self._queues:
            self._queues[key] = self._queue(standing.loaded, kind)
        queue = self._queues[key]
        while queue:
            turn, oldest, index = queue[0]
            if not self._round.may(index):
                heapq.heappop(queue)
                continue
            now = self._round.turn(self._round.group(index).owner)
            if now <= turn:
                return index
            heapq.heapreplace(queue, (now, oldest, index))
        return None

    def _queue(self, models: str, kind: Kind) -> list[tuple[float, float, int]]:
        found = []
        for index in self._of[""] + (self._of[models] if models else []):
            group = self._round.group(index)
            if self._round.suits(index, kind):
                found.append((self._round.turn(group.owner), group.oldest, index))
        heapq.heapify(found)
        return found

    def _longer(self, standing: Standing, index: int) -> int | None:
        """The group whose queue would gain more than the loading costs, if this backend changed over to it."""
        own = self._round.group(index).needs.model_set
        other = self._longest(standing)
        if not own or other is None or not self._turn_is_over(standing, other):
            return None
        group = self._round.group(other)
        have, servers = self._round.servers(index), self._round.servers(other)
        if group.needs.model_set == own or have < 2 or not servers:
            return None
        before = max(self._round.drain(index), self._round.drain(other))
        mine = self._round.drain(index) * have / (have - 1)
        theirs = (self._round.drain(other) * servers + group.load) / (servers + 1)
        return other if before - max(mine, theirs) > group.load else None

    def _deprived(self, standing: Standing, owner: str) -> int | None:
        """A group of an owner with less than its share, where `owner` would have more than its own."""
        running = self._round.running
        if running(owner) + 1 <= self._shares[owner]:
            return None
        kind = self._round.kind(standing)
        poor = [
            index
            for index in self._indices
            if running(self._round.group(index).owner) < math.floor(self._shares[self._round.group(index).owner])
            and self._round.may(index)
            and self._worth(index)
            and self._turn_is_over(standing, index)
            and self._round.suits(index, kind)
        ]
        return min(poor, key=self._deprivation, default=None)

    def _deprivation(self, index: int) -> tuple[float, float]:
        group = self._round.group(index)
        return self._round.running(group.owner) / self._shares[group.owner], group.oldest

    def _worth(self, index: int) -> bool:
        """Whether one more backend with the group's models would have work for its whole turn."""
        group = self._round.group(index)
        part = self._round.work(group.needs.model_set) / (self._round.servers(index) + 1)
        return part > self._round.rules.turn * group.load

    def _take_spare(self, standing: Standing) -> None:
        """Give a backend without work for its models the longest queue, where a job is done sooner for it."""
        index = self._longest(standing)
        if index is None:
            return
        group, wait, servers = self._round.group(index), self._round.drain(index), self._round.servers(index)
        if not group.needs.model_set:
            self._round.give(standing, index, Why.NOTHING_NEEDED, "it needs no models")
        elif not servers:
            self._round.give(standing, index, Why.SPARE, "the backend was spare and no other one has its models")
        elif wait > (1 + self._round.rules.gain) * group.load + group.run:
            reason = (
                f"the backend was spare; the queue for its models would take {wait:.0f} s where they are loaded, "
                f"loading takes {group.load:.0f} s"
            )
            self._round.give(standing, index, Why.SPARE, reason)

    def _longest(self, standing: Standing) -> int | None:
        """The group that most needs one more backend of this kind."""
        kind = self._round.kind(standing)
        if kind not in self._lines:
            suiting = (index for index in self._indices if self._round.suits(index, kind))
            self._lines[kind] = [self._rank(index) for index in suiting]
            heapq.heapify(self._lines[kind])
        line = self._lines[kind]
        while line:
            index = line[0][-1]
            if not self._round.may(index):
                heapq.heappop(line)
                continue
            rank = self._rank(index)
            if rank <= line[0]:
                return index
            heapq.heapreplace(line, rank)
        return None

    def _rank(self, index: int) -> Rank:
        """Owners with too little first, then models that nobody has, then the longest queue, then whose turn it is."""
        round_, group = self._round, self._round.group(index)
        models = group.needs.model_set
        poor = round_.running(group.owner) < math.floor(self._shares[group.owner])
        poor = poor and (not models or not round_.servers(index) or self._worth(index))
        wait = round_.drain(index) if models else math.inf
        return not poor, -wait, -round_.work(models), round_.turn(group.owner), group.oldest, index


def having(count: int) -> str:
    """The subject of a sentence about so many backends."""
    return "1 backend has" if count == 1 else f"{count} backends have"
