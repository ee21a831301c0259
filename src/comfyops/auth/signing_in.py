"""Sign-in by name and password: a few at a time, counted before they are looked at."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfyops.auth.attempts import Limit, too_many
from comfyops.auth.credentials import check_strength, digest
from comfyops.auth.hashing import Hasher, workers
from comfyops.auth.records import User
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.errors import WrongCredentialError

_ACCOUNT_WAITS = 30.0  # seconds at most: nobody can keep somebody else out by guessing
_ADDRESS_WAITS = 900.0
_QUEUE = 2000  # sign-ins that may wait for their turn
_QUEUE_FULL = 5.0  # seconds after which to try again


class SigningIn:
    """Finds the user that a name and a password are of."""

    def __init__(self, store: Store, settings: AuthSettings) -> None:
        self._store = store
        self._free = settings.max_login_attempts
        self._hasher = Hasher("passwords", settings.bcrypt_rounds)
        self._turns = asyncio.Semaphore(workers())
        self._waiting = 0

    async def user(self, name: str, password: str, address: str) -> User:
        """The user. An unknown name takes as long as a wrong password and gets the same answer.

        Raises WrongCredentialError (`facts["name"]` is "" for an unknown name), TooManyAttemptsError and StorageError.
        """
        limits = self._limits(name, address)
        async with self._turn():
            await asyncio.to_thread(self._store.attempts.begin, limits, self._store.clock())
            user = await asyncio.to_thread(self._store.users.named, name)
            usable = user is not None and not user.disabled
            right = await self._hasher.matches(password, (user.password_hash or None) if user and usable else None)
            if user is None or not right:
                # Only the name of somebody known is told on, for the record: another text may be a password.
                raise WrongCredentialError("Name or password is wrong.", name=user.name if user else "")
            await asyncio.to_thread(self._store.attempts.succeeded, limits, limits[0].subject)
        return user

    async def first(self, secret: str, name: str, password: str, address: str) -> User:
        """Make the first administrator with the one-time secret of `comfyops auth init`.

        Raises WrongCredentialError, TooManyAttemptsError, WeakPasswordError, AccountError and StorageError.
        """
        limits = self._limits("", address)[1:]
        async with self._turn():
            await asyncio.to_thread(self._store.attempts.begin, limits, self._store.clock())
            await asyncio.to_thread(self._store.users.check_setup, digest(secret), self._store.clock())
            await asyncio.to_thread(self._store.attempts.succeeded, limits, "")
            password_hash = await self.new_hash(password, name)
            make = self._store.users.first
            return await asyncio.to_thread(make, name, password_hash, self._store.clock(), digest=digest(secret))

    async def new_hash(self, password: str, name: str) -> str:
        """The hash of a new password. Raises WeakPasswordError."""
        check_strength(password, name)
        return await self._hasher.hashed(password)

    def close(self) -> None:
        """End its threads."""
        self._hasher.close()

    def _limits(self, name: str, address: str) -> tuple[Limit, Limit]:
        account = Limit(f"account:{name[:64].lower()!a}", self._free, _ACCOUNT_WAITS)
        return account, Limit(f"address:{network(address)}", self._free, _ADDRESS_WAITS)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= _QUEUE:
            raise too_many(_QUEUE_FULL)
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
