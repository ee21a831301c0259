"""A fleet in thin air: backends, jobs and time as numbers, so that schedules are compared without running anything."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from comfyops.jobs.needs import ModelFile, Needs
from comfyops.jobs.offers import Fits, Offer
from comfyops.jobs.placement import place
from comfyops.jobs.situation import Busy, Decision, Group, Owner, Placement, Rules, Situation, Standing
from comfyops.jobs.turns import Turns


@dataclass(frozen=True)
class Task:
    """One job: when it comes, whose it is, the model it needs and how long it runs."""

    model: str
    run: float = 1.0
    owner: str = "a"
    at: float = 0.0
    priority: int = 0
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ran:
    """One run: which job, where, from when to when, and whether the model had to be loaded."""

    task: Task
    backend: str
    start: float
    end: float
    loaded: bool


@dataclass
class Outcome:
    ran: list[Ran] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rounds: int = 0

    @property
    def makespan(self) -> float:
        return max(run.end for run in self.ran)

    @property
    def loads(self) -> int:
        return sum(run.loaded for run in self.ran)

    def waits(self, **facts: object) -> list[float]:
        """How long the jobs with these facts waited before they were placed."""
        return [
            run.start - run.task.at
            for run in self.ran
            if all(getattr(run.task, name) == value for name, value in facts.items())
        ]


def needs_for(task: Task) -> Needs:
    return Needs(models=(ModelFile("checkpoints", task.model),) if task.model else (), tags=task.tags)


def offer(models: Sequence[str], *tags: str) -> Offer:
    return Offer(models={"checkpoints": frozenset(models)}, tags=frozenset(tags))


Chooser = Callable[[Situation], Sequence[tuple[str, Group]]]


class Fleet:
    """Runs tasks to the end. `load` is the seconds of loading a model; `choose` stands in for placement."""

    def __init__(
        self, tasks: Sequence[Task], backends: Sequence[Standing], load: float, *, rules: Rules | None = None,
        owners: dict[str, Owner] | None = None, check: Callable[[Situation, Placement], None] | None = None,
        choose: Chooser | None = None,
    ) -> None:  # fmt: skip
        self.coming = sorted(enumerate(tasks), key=lambda item: item[1].at)
        self.standing = {standing.backend: standing for standing in backends}
        self.load = load
        self.rules = rules or Rules()
        self.owners = owners or {}
        self.check = check
        self.choose = choose or self.placed
        self.needs = {task: needs_for(task) for task in set(tasks)}
        means = Counter[str]()
        for task in tasks:
            means[task.model] += task.run
        counts = Counter(task.model for task in tasks)
        self.run_of = {model: total / counts[model] for model, total in means.items()}
        self.waiting: dict[tuple[str, int, str], deque[Task]] = {}
        self.served: dict[tuple[str, int, str], float] = {}
        self.turns = Turns()
        self.fits = Fits()
        self.outcome = Outcome()
        self.ends: list[tuple[float, int, str]] = []
        self.ticket = itertools.count()

    def run(self) -> Outcome:
        coming = deque(self.coming)
        while coming or self.ends:
            at = min([item[1].at for item in itertools.islice(coming, 1)] + [end for end, _, _ in self.ends[:1]])
            while coming and coming[0][1].at <= at:
                self.arrive(coming.popleft()[1])
            while self.ends and self.ends[0][0] <= at:
                backend = heapq.heappop(self.ends)[2]
                self.standing[backend] = replace(self.standing[backend], busy=None)
            self.round(at)
        return self.outcome

    def arrive(self, task: Task) -> None:
        self.waiting.setdefault((task.owner, task.priority, self.needs[task].key), deque()).append(task)

    def situation(self, now: float) -> Situation:
        groups = [
            Group(
                owner, priority, self.needs[queue[0]], len(queue), queue[0].at, self.run_of[queue[0].model], self.load,
                self.served.get((owner, priority, key), 0.0),
            )
            for (owner, priority, key), queue in self.waiting.items()
            if queue
        ]  # fmt: skip
        running = Counter(item.busy.owner for item in self.standing.values() if item.busy)
        present = {group.owner for group in groups} | set(running)
        turns = self.turns.of(present)
        owners = {
            name: replace(self.owners.get(name, Owner()), running=running[name], turn=turns[name]) for name in present
        }
        return Situation(groups, list(self.standing.values()), now, owners, self.rules)

    def placed(self, situation: Situation) -> Sequence[tuple[str, Group]]:
        placement = place(situation, self.fits)
        self.outcome.decisions += placement.decisions
        if self.check:
            self.check(situation, placement)
        return [(decision.backend, decision.group) for decision in placement.decisions]

    def round(self, now: float) -> None:
        self.outcome.rounds += 1
        while chosen := self.choose(self.situation(now)):
            for backend, group in chosen:
                self.begin(now, backend, group)

    def begin(self, now: float, backend: str, group: Group) -> None:
        key = (group.owner, group.priority, group.needs.key)
        task = self.waiting[key].popleft()
        self.served[key] = now
        self.turns.charge(group.owner, group.run, self.owners.get(group.owner, Owner()).weight)
        standing = self.standing[backend]
        assert standing.busy is None
        models = group.needs.model_set
        loads = bool(models) and models != standing.loaded
        end = now + task.run + (self.load if loads else 0.0)
        busy = Busy(group.owner, now, group.run + (self.load if loads else 0.0))
        self.standing[backend] = replace(
            standing, busy=busy, loaded=models or standing.loaded, loaded_since=now if loads else standing.loaded_since
        )
        heapq.heappush(self.ends, (end, next(self.ticket), backend))
        self.outcome.ran.append(Ran(task, backend, now, end, loads))


def first_come(situation: Situation) -> list[tuple[str, Group]]:
    """First come, first served: the oldest job to a free backend, whatever it has loaded; asked again for the next."""
    free = [standing.backend for standing in situation.backends if standing.busy is None]
    groups = sorted(situation.groups, key=lambda group: group.oldest)
    return list(zip(free[:1], groups[:1], strict=False))


def best_possible(tasks: Sequence[Task], backends: int, load: float) -> float:
    """A bound that no schedule can beat: every backend that works loads once, every model is loaded somewhere.

    For each moment of arrival, what comes after it must still be done after it.
    """
    models = len({task.model for task in tasks})
    whole = sum(task.run for task in tasks)
    by_count = min((whole + load * max(count, models)) / count for count in range(1, backends + 1))
    later = max(at + sum(task.run for task in tasks if task.at >= at) / backends for at in {task.at for task in tasks})
    longest = max(task.at + task.run + load for task in tasks)
    return max(by_count, later, longest)
