"""Which dispatcher lives, and which backends are whose: rows that must be renewed, or fall to others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import delete, func, insert, or_, select, update

from comfyops import __version__
from comfyops.errors import DispatcherTakenError
from comfyops.jobs import hub, schema
from comfyops.jobs.tx import Tx

_d, _b, _j = schema.dispatchers.c, schema.backends.c, schema.jobs.c


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat found: the dispatchers that live, and the backends of this one. `lost` = somebody took its name."""

    living: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    lost: bool = False


class Leases:
    """The leases of one dispatcher. `term` is how long one lasts without a beat, in seconds."""

    def __init__(self, name: str, term: float) -> None:
        self.name = name
        self._term = term
        self._incarnation = uuid4().hex

    def enter(self, tx: Tx, seen: float | None = None) -> float | None:
        """Take the name. Gives the last beat of another that may live and has it: look again later. None = taken.

        `seen` is what an earlier look gave. Raises DispatcherTakenError where the other gave a sign since.
        """
        row = tx.execute(select(schema.dispatchers).where(_d.name == self.name).with_for_update()).one_or_none()
        if row is not None and seen is not None and row.beat != seen:
            raise DispatcherTakenError(f"A dispatcher named {self.name!r} is at work.", name=self.name)
        if row is not None and abs(tx.now - row.beat) < self._term:
            return float(row.beat)
        tx.execute(delete(schema.dispatchers).where(_d.name == self.name))
        new = {"incarnation": self._incarnation, "started_at": tx.now, "version": __version__}
        tx.execute(insert(schema.dispatchers).values(name=self.name, beat=tx.now, **new))
        return None

    def leave(self, tx: Tx) -> None:
        """Give name and backends back at once."""
        gone = delete(schema.dispatchers).where(_d.name == self.name, _d.incarnation == self._incarnation)
        if tx.execute(gone).rowcount:
            self._release(tx)
            tx.wakes.add(hub.PROBE)

    def beat(self, tx: Tx) -> Beat:
        """Renew everything, and take backends that are nobody's, up to a fair share."""
        mine = update(schema.dispatchers).where(_d.name == self.name, _d.incarnation == self._incarnation)
        if not tx.execute(mine.values(beat=tx.now)).rowcount:
            return Beat(lost=True)
        # A sign from the future is of a clock that was set back; who lives gives another one soon.
        alive = select(_d.name).where(_d.beat.between(tx.now - self._term, tx.now + self._term)).order_by(_d.name)
        living = tuple(tx.execute(alive).scalars())
        self._renew(tx)
        total = tx.execute(select(func.count()).select_from(schema.backends)).scalar_one()
        self._level(tx, math.ceil(total / max(1, len(living))))
        own = select(_b.id).where(_b.dispatcher == self.name).order_by(_b.id)
        return Beat(living, tuple(tx.execute(own).scalars()))

    def _renew(self, tx: Tx) -> None:
        renewed = update(schema.backends).where(_b.dispatcher == self.name)
        tx.execute(renewed.values(lease_until=tx.now + self._term))

    def _level(self, tx: Tx, share: int) -> None:
        have = tx.execute(select(func.count()).where(_b.dispatcher == self.name)).scalar_one()
        if have < share:
            late = tx.now + 2 * self._term  # than any lease given by this clock
            free = or_(_b.dispatcher.is_(None), _b.lease_until < tx.now, _b.lease_until > late)
            found = select(_b.id).where(free).order_by(_b.id).limit(share - have).with_for_update(skip_locked=True)
            taken = list(tx.execute(found).scalars())
            if taken:
                lease = {"dispatcher": self.name, "lease_until": tx.now + self._term, "epoch": _b.epoch + 1}
                tx.execute(update(schema.backends).where(_b.id.in_(taken)).values(**lease, probe_at=0.0))
                tx.wakes.update({hub.PROBE, hub.PLACE})
        elif have > share:
            self._release(tx, have - share)

    def _release(self, tx: Tx, most: int | None = None) -> None:
        """Give backends back, those without a job first; where `most` is given only those."""
        busy = select(_j.backend).where(schema.IS_ACTIVE, _j.backend.is_not(None))
        mine = select(_b.id).where(_b.dispatcher == self.name)
        if most is not None:
            mine = mine.where(_b.id.not_in(busy)).order_by(_b.id.desc()).limit(most)
        names = list(tx.execute(mine).scalars())
        tx.execute(update(schema.backends).where(_b.id.in_(names)).values(dispatcher=None, lease_until=0.0))


def orphans(tx_or_connection: Tx, living: tuple[str, ...]) -> list[tuple[str, int]]:
    """The active jobs, with their attempts, whose runner does not live."""
    statement = select(_j.id, _j.attempt).where(schema.IS_ACTIVE, _j.runner.not_in(living))
    return [(row.id, row.attempt) for row in tx_or_connection.execute(statement)]
