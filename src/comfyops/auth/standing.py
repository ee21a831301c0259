"""Somebody who needs no credential: who comes by a listener that only this machine reaches is let in under one name."""

from __future__ import annotations

import asyncio

from comfyops.auth import scopes
from comfyops.auth.names import checked_name
from comfyops.auth.principal import Principal
from comfyops.auth.store import Store
from comfyops.auth.watch import Watch
from comfyops.errors import AccountError

NEVER = frozenset({scopes.ACCESS_MANAGE, scopes.AUDIT_READ})
"""What nobody may do without a credential, whatever the role says: see to accounts, read the record."""


class Standing:
    """Gives the principal; what its role may do is looked up again whenever the store says that something changed.

    Raises AccountError where `name` cannot be a name, and where the role is unknown or one that manages access. It
    blocks while it is made.
    """

    def __init__(self, store: Store, watch: Watch, name: str, role: str) -> None:
        self._store = store
        self._watch = watch
        self._name = checked_name(name, "owner")
        self._role = role
        known = store.roles.all()
        if role not in known:
            raise AccountError(f"There is no role {role!r}; there are {', '.join(known)}.", role=role)
        if known[role] & NEVER:
            raise AccountError(
                f"The role {role!r} is not for somebody without a credential: it manages access or reads the record.",
                hint="Take artist, operator or viewer.",
                role=role,
            )
        self._revision = -1
        self._principal = self._with(known[role])

    async def __call__(self) -> Principal:
        """Who is let in. Raises StorageError: what cannot be checked is not let in."""
        if not self._watch.fresh:
            await self._watch.look()
        revision = self._watch.revision
        if revision != self._revision:
            known = await asyncio.to_thread(self._store.roles.all)
            self._principal, self._revision = self._with(known.get(self._role, frozenset())), revision
        return self._principal

    def _with(self, given: frozenset[str]) -> Principal:
        return Principal(f"open:{self._name}", self._name, self._role, given - NEVER, "open", "open")
