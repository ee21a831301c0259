"""Sending what the list of `webhooks` holds: each message until its receiver has it, or there is no use.

A message is taken for a while before it is sent; whoever took it and died loses it to another. A receiver may thus get
a message twice, with the same id, and never misses one.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from comfyops.errors import UsageError
from comfyops.jobs import schema
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert
from comfyops.support.webhooks import ANSWER_SECONDS, Delivery, Message, Receiver, key_of, new_secret, post, retry

SECRET = "webhook_secret"
"""The setting that keeps the secret that messages are signed with."""

_AT_ONCE = 16
_LONGEST_LOOK = 30.0  # seconds

_d = schema.deliveries.c


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """`secret` signs the messages ("" = one that is made and kept in the database); `allow_private` lets them go to
    private addresses and by plain http."""

    secret: str = ""
    allow_private: bool = False
    timeout: float = ANSWER_SECONDS


class Sender:
    """Sends the messages of a database; several may, also in several processes.

    Raises UsageError for a secret that is none.
    """

    def __init__(self, store: Store, settings: SenderSettings | None = None) -> None:
        self._store = store
        self._settings = settings or SenderSettings()
        self._secret = self._settings.secret
        if self._secret:
            key_of(self._secret)

    async def secret(self) -> str:
        """The secret that messages are signed with; receivers need it."""
        if not self._secret:
            self._secret = await self._store.write(_kept_secret)
        return self._secret

    async def send_due(self) -> float:
        """Send what is due, once each; gives the seconds until to look again. Raises DatabaseError."""
        secret = await self.secret()
        while True:
            taken = await self._store.write(self._take)
            if not taken:
                return await self._store.read(self._pause)
            await asyncio.gather(*(self._send(row, secret) for row in taken))

    def _take(self, tx: Tx) -> list[Any]:
        due = select(_d.id).where(_d.state == "waiting", _d.next_at <= tx.now, _d.taken_until <= tx.now)
        some = due.order_by(_d.next_at).limit(_AT_ONCE).with_for_update(skip_locked=True)
        ids = list(tx.execute(some).scalars())
        if not ids:
            return []
        until = tx.now + 2 * self._settings.timeout + 10
        taking = update(schema.deliveries).where(_d.id.in_(ids)).values(taken_until=until)
        return list(tx.execute(taking.returning(_d.id, _d.url, _d.body, _d.attempts)).all())

    async def _send(self, row: Any, secret: str) -> None:
        try:
            receiver = Receiver(row.url, secret, allow_private=self._settings.allow_private)
            delivery = await post(receiver, Message(row.id, row.body), timeout=self._settings.timeout)
        except UsageError as error:
            delivery = Delivery(0, error.message, refused=True)
        await self._store.write(lambda tx: _note(tx, row.id, row.attempts + 1, delivery))

    def _pause(self, connection: Any) -> float:
        later = select(_d.next_at, _d.taken_until).where(_d.state == "waiting").order_by(_d.next_at).limit(1)
        row = connection.execute(later).one_or_none()
        if row is None:
            return _LONGEST_LOOK
        return float(min(max(0.1, max(row.next_at, row.taken_until) - self._store.clock()), _LONGEST_LOOK))


def after(delivery: Delivery, attempts: int, chance: float) -> tuple[str, float, str]:
    """What follows from attempt number `attempts`: the state, the seconds to the next attempt, the reason. Pure."""
    found = retry(delivery, attempts, lambda: chance)
    if delivery.ok:
        return "delivered", 0.0, ""
    return ("failed", 0.0, found.why) if found.after is None else ("waiting", found.after, found.why)


def _note(tx: Tx, message: str, attempts: int, delivery: Delivery) -> None:
    """Note what came of an attempt; nothing where somebody had the message sent anew in the meantime."""
    state, wait, reason = after(delivery, attempts, random.random())
    values = {
        "state": state,
        "attempts": attempts,
        "next_at": tx.now + wait,
        "taken_until": 0.0,
        "status": delivery.status or None,
        "reason": reason[:500],
    }
    same = (_d.id == message, _d.state == "waiting", _d.attempts == attempts - 1)
    tx.execute(update(schema.deliveries).where(*same).values(**values))


def _kept_secret(tx: Tx) -> str:
    s = schema.settings.c
    tx.execute(upsert(tx, schema.settings, {"name": SECRET, "value": new_secret()}, ["name"], {}))
    return str(tx.execute(select(s.value).where(s.name == SECRET)).scalar_one())
