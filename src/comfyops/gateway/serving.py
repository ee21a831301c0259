"""A gateway with everything it needs, from a folder and settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.app import Gateway
from comfyops.gateway.kept import FILE as KEPT
from comfyops.gateway.kept import Kept
from comfyops.gateway.listener import listening, opened_listening
from comfyops.gateway.managing import app as managing
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.oidc.ready import check_oidc
from comfyops.gateway.opened import OpenDoor, Opened, through
from comfyops.gateway.owners import Owners
from comfyops.gateway.settings import GatewaySettings
from comfyops.gateway.upkeep import Upkeep, kept_up

if TYPE_CHECKING:
    from comfyops.gateway.durable.routes import DurableJobs

OWNERS = "gateway.db"
"""File of the record whose job and whose file it is."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen; with a certificate and its key, by TLS; `opened` asks for no credential."""

    host: str = "127.0.0.1"
    port: int = 8189
    certificate: Path | None = None
    key: Path | None = None
    opened: Opened | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """Where a gateway listens; `opened` is the listener that asks for no credential."""

    url: str
    opened: str | None = None


@asynccontextmanager
async def serving(
    settings: GatewaySettings,
    auth: AuthSettings,
    home: Path,
    listen: Listen,
    mounts: Mapping[str, ASGIApp] = MappingProxyType({}),
    durable: DurableJobs | None = None,
) -> AsyncIterator[Served]:
    """Serve while the block runs; gives the addresses. Accounts, record and owners are kept in `home`.

    `mounts` are applications by the prefix of their paths, such as "/ops"; who reaches them was let in. `durable` takes
    jobs into a queue of ours; without it they go straight to the servers.

    Raises StorageError, AccountError, MissingExtraError, PortInUseError and UsageError.
    """
    async with AsyncExitStack() as stack:
        records = _opened(stack, settings, auth, home.expanduser())
        gateway = records.gateway(settings, auth, mounts, durable)
        files = (str(file) if file else None for file in (listen.certificate, listen.key))
        certificate, key = files
        own = listening(gateway, listen.host, listen.port, certificate=certificate, key=key)
        url = await stack.enter_async_context(own)
        opened = None
        if (where := listen.opened) is not None:
            standing = records.authenticator.standing(where.owner, where.role)
            door = OpenDoor(settings, records.authenticator, standing)
            opened = await stack.enter_async_context(
                opened_listening(through(door, gateway), where, settings.limits.body_seconds)
            )
        upkeep = Upkeep(records.store, records.audited, home.expanduser() / OWNERS, auth)
        await stack.enter_async_context(kept_up(upkeep))
        yield Served(url, opened)


@dataclass(frozen=True)
class _Records:
    """Everything that is kept on disk."""

    store: Store
    audited: AuditStore
    audit: AuditLog
    authenticator: Authenticator
    owners: Owners
    kept: Kept | None

    def gateway(
        self,
        settings: GatewaySettings,
        auth: AuthSettings,
        mounts: Mapping[str, ASGIApp],
        durable: DurableJobs | None,
    ) -> Gateway:
        """The application that works on it."""
        every = {**managing.mounts(self.store, self.audit, self.audited, auth), **mounts}
        return Gateway(settings, self.authenticator, self.owners, self.audit.record, every, self.kept, durable)


def _opened(stack: AsyncExitStack, settings: GatewaySettings, auth: AuthSettings, home: Path) -> _Records:
    store = Store.at_home(home)
    stack.callback(store.close)
    if settings.oidc is not None:
        check_oidc(settings.oidc, store)
    audited = AuditStore.at_home(home)
    stack.callback(audited.close)
    audit = AuditLog(audited)
    stack.callback(audit.close)
    authenticator = Authenticator(store, auth)
    stack.callback(authenticator.close)
    owners = Owners(home / OWNERS)
    stack.callback(owners.close)
    kept = None if settings.shared_userdata else Kept(home / KEPT)
    if kept is not None:
        stack.callback(kept.close)
    return _Records(store, audited, audit, authenticator, owners, kept)
