"""The check of API tokens: bcrypt once, then a digest that is remembered while the store says nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from comfyops.auth.attempts import Limit
from comfyops.auth.credentials import TokenText
from comfyops.auth.hashing import Hasher
from comfyops.auth.memory import Memory
from comfyops.auth.principal import Principal
from comfyops.auth.records import Token
from comfyops.auth.signing_in import network
from comfyops.auth.store import Store
from comfyops.auth.watch import Watch
from comfyops.config import AuthSettings

_REMEMBERED = 10_000  # tokens
_LONGEST_WAIT = 300.0  # seconds for who tries secrets of one token from one network
_FREE = 5  # wrong secrets at least, so that several processes may prove one token at once
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class _Known:
    """A token whose secret was right, as the store had it at a revision."""

    token: Token
    principal: Principal | None
    revision: int


class BearerCheck:
    """Finds who a token lets in."""

    def __init__(self, store: Store, watch: Watch, settings: AuthSettings) -> None:
        self._store = store
        self._watch = watch
        self._free = max(settings.max_login_attempts, _FREE)
        self._hasher = Hasher("tokens", settings.bcrypt_rounds)
        self._key = os.urandom(32)  # digests of this process mean nothing elsewhere
        self._known: Memory[_Known] = Memory(_REMEMBERED)
        self._proofs: dict[bytes, asyncio.Future[_Known | None]] = {}
        self._wrong: Memory[bool] = Memory(_REMEMBERED)  # a wrong secret of a token never becomes right

    async def __call__(self, text: str, address: str) -> Principal | None:
        """Whom the token lets in, None where it lets in nobody.

        Raises TooManyAttemptsError for wrong secrets of one token from one address, and StorageError.
        """
        if not self._watch.fresh:
            await self._watch.look()
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()
        known = self._known.get(key)
        if known is None:
            known = await self._first_time(key, text, address)
        elif known.revision != self._watch.revision:
            known = await self._again(key, known)
        if known is None or not known.token.usable(self._store.clock()):
            return None
        return known.principal

    def expired(self, since: float, until: float) -> Iterator[str]:
        """Ids of tokens in use here whose end came between two times."""
        for known in self._known:
            if known.token.expires_at is not None and since < known.token.expires_at <= until:
                yield known.token.id

    def close(self) -> None:
        """End its threads."""
        self._hasher.close()

    async def _first_time(self, key: bytes, text: str, address: str) -> _Known | None:
        parts = TokenText.parse(text) if len(text) <= _LONGEST_TEXT else None
        if parts is None or self._wrong.get(key):
            return None
        proof = self._proofs.get(key)
        if proof is None:  # many requests at once with one token wait for the same proof
            proof = self._proofs[key] = asyncio.ensure_future(self._prove(key, parts, address))
            proof.add_done_callback(lambda done: self._proofs.pop(key, None))
        return await asyncio.shield(proof)

    async def _prove(self, key: bytes, parts: TokenText, address: str) -> _Known | None:
        found = await asyncio.to_thread(self._store.tokens.find, parts.id)
        if found is None or not found[0].usable(self._store.clock()):
            return None
        if not await self._matches(parts, found[0], address):
            self._wrong.keep(key, True)
            return None
        return await self._again(key, _Known(*found, self._watch.revision))

    async def _matches(self, parts: TokenText, token: Token, address: str) -> bool:
        limit = Limit(f"token:{token.id}@{network(address)}", self._free, _LONGEST_WAIT)
        await asyncio.to_thread(self._store.attempts.begin, (limit,), self._store.clock())
        right = await self._hasher.matches(parts.secret, token.hash)
        if right:
            await asyncio.to_thread(self._store.attempts.succeeded, (limit,), limit.subject)
        return right

    async def _again(self, key: bytes, known: _Known) -> _Known | None:
        """Read a token anew after a change of whatever: its hash is the same, so its secret is right still."""
        revision = self._watch.revision
        found = await asyncio.to_thread(self._store.tokens.find, known.token.id)
        if found is None or found[0].hash != known.token.hash:
            self._known.forget(key)
            return None
        fresh = _Known(*found, revision)
        self._known.keep(key, fresh)
        return fresh
