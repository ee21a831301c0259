"""A gateway with everything it needs, from a folder and settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.app import Gateway
from comfyops.gateway.listener import listening
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.owners import Owners
from comfyops.gateway.settings import GatewaySettings

OWNERS = "gateway.db"
"""File of the record whose job and whose file it is."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen; with a certificate and its key, by TLS."""

    host: str = "127.0.0.1"
    port: int = 8189
    certificate: Path | None = None
    key: Path | None = None


@asynccontextmanager
async def serving(
    settings: GatewaySettings,
    auth: AuthSettings,
    home: Path,
    listen: Listen,
    mounts: Mapping[str, ASGIApp] = MappingProxyType({}),
) -> AsyncIterator[str]:
    """Serve while the block runs; gives the address. Accounts, record and owners are kept in `home`.

    `mounts` are applications by the prefix of their paths, such as "/ops"; who reaches them was let in.

    Raises StorageError, PortInUseError and UsageError.
    """
    with ExitStack() as stack:
        store = Store.at_home(home)
        stack.callback(store.close)
        audit = AuditLog(AuditStore.at_home(home))
        stack.callback(audit.close)
        authenticator = Authenticator(store, auth)
        stack.callback(authenticator.close)
        owners = Owners(home.expanduser() / OWNERS)
        stack.callback(owners.close)
        gateway = Gateway(settings, authenticator, owners, audit.record, mounts)
        files = (str(file) if file else None for file in (listen.certificate, listen.key))
        certificate, key = files
        async with listening(gateway, listen.host, listen.port, certificate=certificate, key=key) as url:
            yield url
