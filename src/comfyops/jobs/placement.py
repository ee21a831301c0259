"""Which waiting job goes to which free backend, and why. Pure: no input or output, no clock.

Jobs wait in groups: one owner, one priority, one set of needs. For every level of priority, the most urgent first:

    rescue  a group that no backend serves and that has waited for `age_bound` takes one from another model
    loaded  a free backend goes on with the models it has, the owner first whose turn it is; it changes them only where
            another owner has less than its share, or another queue would shrink by more than the loading costs
    spare   a free backend without work for its models takes the longest queue, where loading is worth it

Every rule that takes a backend from its models lets it work for some time after the last change (`turn`), so that a
fleet with more models than backends does not spend its time on loading.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby

from comfyops.jobs.needs import Needs
from comfyops.jobs.offers import Fits
from comfyops.jobs.placement_level import Level, having
from comfyops.jobs.situation import Decision, Group, Owner, Placement, Situation, Standing, Waiting, Why


def place(situation: Situation, fits: Fits | None = None) -> Placement:
    """Decide one round: at most one job for each free backend. `fits` remembers between rounds who serves what."""
    return Round(situation, fits or Fits()).decide()


Kind = int  # of a backend: bit n is set where it can run the n-th of the round's needs


class Round:
    """The state of one round: what is left of each group, who has what, which backends are free."""

    def __init__(self, situation: Situation, fits: Fits) -> None:
        self.now = situation.now
        self.rules = situation.rules
        self.free: dict[str, Standing] = {}
        self.size = sum(standing.open for standing in situation.backends)
        self._groups = list(situation.groups)
        self._owners = situation.owners
        self._left = [max(0, group.count) for group in self._groups]
        self._kinds = Kinds(self._groups, fits)
        self._have: defaultdict[str, Counter[Kind]] = defaultdict(Counter)  # models -> open backends that have them
        self._servers: dict[int, int] = {}
        self._rest: defaultdict[str, float] = defaultdict(float)  # models -> seconds until their busy ones are free
        self._work: defaultdict[str, float] = defaultdict(float)  # models -> seconds of waiting jobs of levels so far
        self._running: Counter[str] = Counter()  # at the backends of this round
        self._given: Counter[str] = Counter()
        self._turn = {name: owner.turn for name, owner in situation.owners.items()}
        self._decisions: list[Decision] = []
        for standing in situation.backends:
            self._enter(standing)

    def decide(self) -> Placement:
        """Place what can be placed."""
        order = sorted(range(len(self._groups)), key=lambda index: self._groups[index].priority)
        self._feed_starving(order)
        for _, level in groupby(order, key=lambda index: self._groups[index].priority):
            indices = [index for index in level if self._left[index]]
            for index in indices:
                self._work[self._groups[index].needs.model_set] += self._left[index] * self._groups[index].run
            if self.free and indices:
                Level(self, indices).decide()
        return Placement(tuple(self._decisions), tuple(self._waiting()))

    def _enter(self, standing: Standing) -> None:
        if standing.busy is not None:
            self._running[standing.busy.owner] += 1
        if not standing.open:
            return
        self._have[standing.loaded][self.kind(standing)] += 1
        if standing.busy is None:
            self.free[standing.backend] = standing
        else:
            self._rest[standing.loaded] += _rest(self.now - standing.busy.since, standing.busy.run)

    def kind(self, standing: Standing) -> Kind:
        """The kind of backend: all of a kind serve the same groups."""
        return self._kinds.of(standing)

    def suits(self, index: int, kind: Kind) -> bool:
        """Whether backends of this kind can run jobs of a group."""
        return bool(kind >> self._kinds.numbers[index] & 1)

    def _feed_starving(self, order: list[int]) -> None:
        """One job for each group of lower priority that has got nothing for very long."""
        if not order or not self.free:
            return
        first = self._groups[order[0]].priority
        bound = self.now - self.rules.starve_bound
        starving = [
            index
            for index in order
            if self._groups[index].priority > first and self._groups[index].waiting_since <= bound and self.may(index)
        ]
        for index in sorted(starving, key=lambda item: self._groups[item].waiting_since):
            models = self._groups[index].needs.model_set
            fitting = [standing for standing in self.free.values() if self.suits(index, self.kind(standing))]
            best = min(fitting, key=lambda item: (item.loaded != models, item.loaded_since), default=None)
            if best is not None and self.may(index):
                waited = self.now - self._groups[index].waiting_since
                self.give(best, index, Why.STARVING, f"it got nothing for {waited:.0f} s, in spite of its priority")

    # What the levels ask and do.

    def group(self, index: int) -> Group:
        """The group of this number."""
        return self._groups[index]

    def may(self, index: int) -> bool:
        """Whether a job of the group is left and its owner may have another running one."""
        if not self._left[index]:
            return False
        name = self._groups[index].owner
        owner = self._owners.get(name)
        return owner is None or owner.limit is None or owner.running + self._given[name] < owner.limit

    def turn(self, owner: str) -> float:
        """The time an owner has had, with what this round gave it."""
        return self._turn.get(owner, 0.0)

    def weight(self, owner: str) -> float:
        """The weight of an owner."""
        return self._owners.get(owner, Owner()).weight

    def running(self, owner: str) -> int:
        """Jobs of an owner at the backends of this round, with what it gave."""
        return self._running[owner]

    def active(self) -> Iterator[str]:
        """Owners that have running jobs."""
        return (owner for owner, count in self._running.items() if count)

    def servers(self, index: int) -> int:
        """Backends that have the group's models loaded and can run it, busy ones too."""
        number = self._kinds.numbers[index]
        if number not in self._servers:
            have = self._have[self._groups[index].needs.model_set]
            self._servers[number] = sum(count for kind, count in have.items() if kind >> number & 1)
        return self._servers[number]

    def work(self, models: str) -> float:
        """Seconds of waiting jobs for these models, of this level and more urgent ones."""
        return self._work[models]

    def drain(self, index: int) -> float:
        """Seconds until the backends that have the group's models are through with its queue; infinite without one."""
        servers = self.servers(index)
        models = self._groups[index].needs.model_set
        return (self._work[models] + self._rest[models]) / servers if servers else math.inf

    def give(self, standing: Standing, index: int, why: Why, reason: str) -> None:
        """Place a job of the group at a free backend."""
        group = self._groups[index]
        models = group.needs.model_set
        self._decisions.append(Decision(group, standing.backend, why, reason))
        del self.free[standing.backend]
        self._left[index] -= 1
        self._work[models] = max(0.0, self._work[models] - group.run)
        self._running[group.owner] += 1
        self._given[group.owner] += 1
        self._turn[group.owner] = self.turn(group.owner) + group.run / self.weight(group.owner)
        kind = self.kind(standing)
        if models and models != standing.loaded:
            self._have[standing.loaded][kind] -= 1
            self._have[models][kind] += 1
            self._servers.clear()
            self._rest[models] += group.load
        self._rest[models or standing.loaded] += group.run

    # Why the others wait.

    def _waiting(self) -> Iterator[Waiting]:
        free = {self.kind(standing) for standing in self.free.values()}
        for index, count in enumerate(self._left):
            if count:
                yield Waiting(self._groups[index], count, self._reason(index, free))

    def _reason(self, index: int, free: set[Kind]) -> str:
        group = self._groups[index]
        if not self.may(index):
            return f"{group.owner or 'its owner'} has as many running jobs as its limit allows"
        if not self.size:
            return "no backend takes jobs now"
        if not any(self.suits(index, kind) for kind in self._kinds.seen):
            return f"none of the {self.size} backends that take jobs now can run it"
        if not any(self.suits(index, kind) for kind in free):
            return "every backend that can run it is busy"
        return (
            f"{having(self.servers(index))} its models loaded and will be through in about {self.drain(index):.0f} s; "
            f"loading them elsewhere takes {group.load:.0f} s"
        )


class Kinds:
    """The different needs of a round's groups, and which of them each backend can run."""

    def __init__(self, groups: list[Group], fits: Fits) -> None:
        self._fits = fits
        self._needs: dict[str, tuple[int, Needs]] = {}
        self.numbers = [self._needs.setdefault(g.needs.key, (len(self._needs), g.needs))[0] for g in groups]
        self._insisted = {needs.backend for _, needs in self._needs.values()} - {""}
        self._known: dict[tuple[str, str], Kind] = {}

    def of(self, standing: Standing) -> Kind:
        """The kind of a backend."""
        name = standing.backend if standing.backend in self._insisted else ""
        key = (standing.offer.key, name)
        kind = self._known.get(key)
        if kind is None:
            kind = sum(1 << number for number, needs in self._needs.values() if self._fits(needs, standing.offer, name))
            self._known[key] = kind
        return kind

    @property
    def seen(self) -> set[Kind]:
        """All kinds of backends so far."""
        return set(self._known.values())


def _rest(elapsed: float, run: float) -> float:
    """How long a job that has run for `elapsed` will go on: one far over its time is taken to go on for as long."""
    return max(0.0, run - elapsed) if elapsed < 2 * run else elapsed
