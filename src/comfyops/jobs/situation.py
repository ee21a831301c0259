"""What placement decides on, and what it decided, as values. Times are seconds since the epoch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from comfyops.jobs.needs import Needs
from comfyops.jobs.offers import Offer


@dataclass(frozen=True, slots=True)
class Group:
    """Waiting jobs alike: `count` of them, the oldest since `oldest`; smaller `priority` goes first.

    `run` is how long one takes with its models loaded and `load` how long loading takes, in seconds, as far as known.
    `served` is when a job of the group was last placed (0 = never). Times are seconds since the epoch.
    """

    owner: str
    priority: int
    needs: Needs
    count: int
    oldest: float
    run: float = 10.0
    load: float = 20.0
    served: float = 0.0

    @property
    def waiting_since(self) -> float:
        """Since when the group has got nothing."""
        return max(self.oldest, self.served)


@dataclass(frozen=True, slots=True)
class Busy:
    """The job that a backend runs: whose it is, since when, and how long such a job takes, in seconds."""

    owner: str
    since: float
    run: float = 10.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A backend as it stands. `loaded` are the models in its memory (a `Needs.model_set`; "" = none known) since
    `loaded_since`; those of a busy one are its job's. `open` = it takes further jobs (up, not drained or paused)."""

    backend: str
    offer: Offer
    loaded: str = ""
    loaded_since: float = 0.0
    busy: Busy | None = None
    open: bool = True


@dataclass(frozen=True, slots=True)
class Owner:
    """What counts for one owner's turn. `running` are its jobs at all backends, `limit` the most of them (None = any).

    `turn` is backend time it had lately over its weight (see `turns`); who had least comes first.
    """

    running: int = 0
    weight: float = 1.0
    limit: int | None = None
    turn: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds, in seconds or in times of loading.

    `age_bound`: how long a group may wait that no backend serves. `starve_bound`: after how long without any job a
    group of lower priority gets one all the same. `turn`: for how many times the loading a backend keeps new models.
    `gain`: by which part of the loading a queue must be longer than it before a spare backend loads its models too.
    """

    age_bound: float = 60.0
    starve_bound: float = 600.0
    turn: float = 4.0
    gain: float = 0.25


class Why(StrEnum):
    """The rule that placed a job."""

    LOADED = "loaded"
    NOTHING_NEEDED = "nothing needed"
    SPARE = "spare"
    BALANCE = "balance"
    SHARE = "share"
    AGE = "age"
    STARVING = "starving"


@dataclass(frozen=True, slots=True)
class Decision:
    """One job of a group goes to a backend; `reason` says why in one sentence."""

    group: Group
    backend: str
    why: Why
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """`count` jobs of a group stay waiting; `reason` says why in one sentence."""

    group: Group
    count: int
    reason: str


@dataclass(frozen=True)
class Placement:
    """The outcome of one round: at most one job for each free backend."""

    decisions: tuple[Decision, ...] = ()
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True)
class Situation:
    """Everything that a round decides on."""

    groups: Sequence[Group]
    backends: Sequence[Standing]
    now: float
    owners: Mapping[str, Owner] = field(default_factory=dict)
    rules: Rules = Rules()
