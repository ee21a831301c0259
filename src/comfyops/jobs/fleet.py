"""The backends that jobs may go to: rows that operators change and that dispatchers lease."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from comfyops.backends.http import checked_url
from comfyops.errors import JobStateError, NoBackendError, UnknownBackendError, UsageError
from comfyops.jobs import direct, hub, schema
from comfyops.jobs.needs import Needs
from comfyops.jobs.offers import Fits, Offer, nobody
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx

_b = schema.backends.c
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_OFFER_KEYS = select(_b.id, _b.offer_key)


class BackendState(StrEnum):
    """Whether a backend takes jobs. Only `UP` does."""

    NEW = "new"  # nobody has looked at it yet
    UP = "up"
    DOWN = "down"  # it does not answer; looked at again and again
    DRAINED = "drained"  # an operator wants it to take no more jobs
    PAUSED = "paused"  # the same, for a while
    QUARANTINED = "quarantined"  # it takes jobs and does not run them; a canary decides when it may come back


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One backend as the store has it; `job` is the one it has at the moment, `loaded` the models in its memory."""

    id: str
    url: str
    tags: tuple[str, ...]
    state: BackendState
    reason: str
    dispatcher: str | None
    loaded: str
    loaded_since: float
    offer_key: str
    version: str
    failures: int
    last_seen: float | None
    added_at: float
    lease_until: float
    epoch: int
    probe_at: float
    job: str | None = None


COLUMNS = [_b[name] for name in BackendRow.__slots__ if name != "job"]


class Fleet:
    """All backends of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offers: dict[str, Offer] = {}
        self._fits = Fits()

    async def add(self, url: str, *, name: str = "", token: str = "", tags: Sequence[str] = ()) -> BackendRow:
        """Add a backend; a dispatcher looks at it soon. One that is there gets the address, token and tags given.

        It is known by its name, or without one by its address, which is its name then.

        Raises UsageError.
        """
        url = checked_url(url)
        return await self._store.write(lambda tx: _add(tx, name, url, token, tags))

    async def ls(self) -> tuple[BackendRow, ...]:
        """Every backend, by name."""
        return await self._store.read(read_all)

    async def get(self, name: str) -> BackendRow:
        """The backend of this name. Raises UnknownBackendError."""
        return await self._store.read(lambda connection: read_one(connection, name))

    async def addresses(self) -> list[tuple[str, str]]:
        """Address and token of every backend, by name."""
        statement = select(_b.url, _b.token).order_by(_b.id)
        return await self._store.read(
            lambda connection: [(row.url, row.token) for row in connection.execute(statement)]
        )

    async def drain(self, name: str, *, reason: str = "") -> BackendRow:
        """Have it take no more jobs; what it runs goes on. Raises UnknownBackendError."""
        return await self._store.write(lambda tx: _set(tx, name, BackendState.DRAINED, reason or "drained"))

    async def pause(self, name: str, *, reason: str = "") -> BackendRow:
        """As `drain`, meant for a while. Raises UnknownBackendError."""
        return await self._store.write(lambda tx: _set(tx, name, BackendState.PAUSED, reason or "paused"))

    async def resume(self, name: str) -> BackendRow:
        """Let a drained, paused or quarantined backend take jobs again, once it answers. Raises UnknownBackendError."""
        return await self._store.write(lambda tx: _set(tx, name, BackendState.NEW, ""))

    async def look_again(self, name: str) -> None:
        """Have its dispatcher look at a backend now."""

        def write(tx: Tx) -> None:
            tx.execute(update(schema.backends).where(_b.id == name).values(probe_at=0.0))
            tx.wakes.add(hub.PROBE)

        await self._store.write(write)

    async def remove(self, name: str) -> None:
        """Forget a backend that has no job. Raises UnknownBackendError, JobStateError."""
        await self._store.write(lambda tx: _remove(tx, name))

    async def offers(self) -> dict[str, Offer]:
        """What each backend that was looked at offers."""
        return await self._store.read(self.read_offers)

    def read_offers(self, connection: Connection) -> dict[str, Offer]:
        """The same inside a transaction; offers that are known already are not read again."""
        return self._known_offers(connection, dict(direct.select(connection, _OFFER_KEYS)))

    def _known_offers(self, connection: Connection, keys: Mapping[str, str]) -> dict[str, Offer]:
        missing = {key for key in keys.values() if key and key not in self._offers}
        for offer in _read_documents(connection, missing):
            self._offers[offer.key] = offer
        return {name: self._offers[key] for name, key in keys.items() if key in self._offers}

    def unservable(self, connection: Connection, wanted: Iterable[Needs]) -> dict[str, NoBackendError]:
        """The errors for needs that no backend can ever serve, by their keys."""
        keys = dict(direct.select(connection, _OFFER_KEYS))
        offers = self._known_offers(connection, keys)
        if not offers or len(offers) < len(keys):  # of one at least nobody knows yet what it offers
            return {}
        found = {}
        for needs in {needs.key: needs for needs in wanted}.values():
            if not any(self._fits(needs, offer, name) for name, offer in offers.items()):
                reasons = nobody(needs, offers)
                words = f"No backend can ever run this job: {reasons[0]}."
                found[needs.key] = NoBackendError(words, reasons=list(reasons))
        return found


def _read_documents(connection: Connection, keys: set[str]) -> list[Offer]:
    if not keys:
        return []
    found = connection.execute(select(_b.offer).where(_b.offer_key.in_(keys))).scalars()
    return [Offer.from_dict(json.loads(text)) for text in dict.fromkeys(found)]


def read_all(connection: Connection) -> tuple[BackendRow, ...]:
    """Every backend, by name."""
    j = schema.jobs.c
    running = dict(connection.execute(select(j.backend, j.id).where(schema.IS_ACTIVE)).all())
    rows = connection.execute(select(*COLUMNS).order_by(_b.id))
    return tuple(_backend(row, running.get(row.id)) for row in rows)


def read_one(connection: Connection, name: str) -> BackendRow:
    """The backend of this name. Raises UnknownBackendError."""
    row = connection.execute(select(*COLUMNS).where(_b.id == name)).one_or_none()
    if row is None:
        raise UnknownBackendError(f"There is no backend {name[:80]!r}.", backend=name)
    j = schema.jobs.c
    statement = select(j.id).where(j.backend == name, schema.IS_ACTIVE)
    return _backend(row, connection.execute(statement).scalar())


def address(connection: Connection, name: str) -> tuple[str, str]:
    """The address and token of a backend. Raises UnknownBackendError."""
    row = connection.execute(select(_b.url, _b.token).where(_b.id == name)).one_or_none()
    if row is None:
        raise UnknownBackendError(f"There is no backend {name[:80]!r} any more.", backend=name)
    return row.url, row.token


def _backend(row: Row[Any], job: str | None) -> BackendRow:
    values = dict(row._mapping)
    changed = {"tags": tuple(json.loads(values["tags"])), "state": BackendState(values["state"])}
    return BackendRow(**{**values, **changed}, job=job)


def _add(tx: Tx, name: str, url: str, token: str, tags: Sequence[str]) -> BackendRow:
    """Add a backend, or change the one of this name; without a name the one of this address."""
    known = tx.execute(select(_b.id).where(_b.id == name if name else _b.url == url)).scalar_one_or_none()
    changes: dict[str, Any] = {"url": url, "probe_at": 0.0}
    if token:
        changes["token"] = token
    if tags:
        changes |= {"tags": json.dumps(sorted(set(tags))), "version": ""}  # what it offers is read again
    name = known or _checked_name(name or urlsplit(url).netloc.rpartition("@")[2])
    try:
        with tx.connection.begin_nested():
            if known is not None:
                tx.execute(update(schema.backends).where(_b.id == name).values(**changes))
            else:
                tx.execute(insert(schema.backends).values(**{**_NEW, **changes, "id": name, "added_at": tx.now}))
    except IntegrityError as error:
        raise UsageError(f"Another backend has the address {url}.", hint="See `comfyops backends ls`.") from error
    tx.wakes.add(hub.PROBE)
    return read_one(tx.connection, name)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:120]!r} is not a name for a backend.", hint="Take letters, digits, '.', '-', '_'.")
    return name


_NEW: dict[str, Any] = {
    "token": "",
    "tags": "[]",
    "state": BackendState.NEW,
    "reason": "",
    "lease_until": 0.0,
    "epoch": 0,
    "offer": "",
    "offer_key": "",
    "version": "",
    "loaded": "",
    "loaded_since": 0.0,
    "failures": 0,
}
"""A backend of which nothing is known."""


def _set(tx: Tx, name: str, state: BackendState, reason: str) -> BackendRow:
    values = {"state": state, "reason": reason, "probe_at": 0.0}
    tx.execute(update(schema.backends).where(_b.id == name).values(**values))
    tx.wakes.update({hub.PROBE, hub.PLACE})
    return read_one(tx.connection, name)


def _remove(tx: Tx, name: str) -> None:
    found = read_one(tx.connection, name)
    if found.job is not None:
        words = f"The backend {name} has the job {found.job}."
        raise JobStateError(words, hint="Drain it first, or cancel the job.", backend=name, job=found.job)
    tx.execute(delete(schema.backends).where(_b.id == name))
