"""A gateway before a simulated server, with people who have tokens, for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from comfyops.auth import credentials
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.credentials import TokenText
from comfyops.auth.principal import Principal
from comfyops.auth.records import Token
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.admission import Admission
from comfyops.gateway.app import Gateway
from comfyops.gateway.durable.routes import DurableJobs
from comfyops.gateway.kept import Kept
from comfyops.gateway.listener import listening
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.owners import Owners
from comfyops.gateway.settings import BackendAddress, GatewaySettings
from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.queue import Queue
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.workflows.node_types import NodeTypes

ROUNDS = 4


@dataclass(frozen=True)
class Line:
    """One line of the record."""

    action: str
    principal: Principal | None
    address: str
    target: str
    allowed: bool
    reason: str


@dataclass
class Ledger:
    """What was recorded."""

    lines: list[Line] = field(default_factory=list)

    def __call__(
        self,
        action: str,
        principal: Principal | None = None,
        /,
        *,
        address: str,
        target: str = "",
        allowed: bool,
        reason: str,
    ) -> None:
        self.lines.append(Line(action, principal, address, target, allowed, reason))


@dataclass
class House:
    """Everything that a test needs of a running gateway."""

    url: str
    backend: str
    gateway: Gateway
    store: Store
    ledger: Ledger
    session: aiohttp.ClientSession

    def token(self, name: str, role: str = "artist") -> str:
        """A new token."""
        return add_token(self.store, name, role)

    def user(self, name: str, password: str, role: str = "artist") -> None:
        """A new person."""
        add_user(self.store, name, password, role)

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON (else text) of a request."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, self.url + path, headers=headers, allow_redirects=False, **options
        ) as response:
            try:
                return response.status, await response.json(content_type=None)
            except ValueError:
                return response.status, await response.text(errors="replace")


def add_token(store: Store, name: str, role: str) -> str:
    """A new token in a store."""
    text, now = TokenText.new(), store.clock()
    hashed = credentials.hashed(text.secret, ROUNDS)
    store.tokens.add(Token(text.id, name, f"own_{secrets.token_hex(4)}", role, now, None, None, hashed), now)
    return text.text


def add_user(store: Store, name: str, password: str, role: str) -> None:
    """A new person in a store."""
    store.users.add(name, role, credentials.hashed(password, ROUNDS), store.clock())


@asynccontextmanager
async def house(
    folder: Path, *, simulated: SimulatorSettings | None = None, backend: str | None = None, **options: Any
) -> AsyncIterator[House]:
    """A gateway before a simulated server (or the one at `backend`); `options`: settings, `mounts`."""
    async with Simulator(simulated or SimulatorSettings(port=0, faithful_poison=True)) as simulator:
        address = backend or simulator.url
        async with (
            gateway_to(folder, (BackendAddress(address),), **options) as (url, gateway, store, ledger),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
        ):
            yield House(url, address, gateway, store, ledger, session)


@asynccontextmanager
async def gateway_to(
    folder: Path,
    backends: tuple[BackendAddress, ...],
    auth: Callable[[], AuthSettings] | None = None,
    mounts: Mapping[str, ASGIApp] = MappingProxyType({}),
    durable: Callable[[GatewaySettings], DurableJobs] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[str, Gateway, Store, Ledger]]:
    """A gateway before these servers."""
    store, ledger = Store.at_home(folder), Ledger()
    settings = auth() if auth else AuthSettings(bcrypt_rounds=ROUNDS)
    authenticator, owners = Authenticator(store, settings), Owners(folder / "gateway.db")
    kept = None if options.get("shared_userdata") else Kept(folder / "userdata.db")
    told = GatewaySettings(backends, **options)
    jobs = durable(told) if durable is not None else None
    gateway = Gateway(told, authenticator, owners, ledger, mounts, kept, jobs)
    try:
        async with listening(gateway, "127.0.0.1", 0) as url:
            yield url, gateway, store, ledger
    finally:
        authenticator.close()
        owners.close()
        store.close()
        if kept is not None:
            kept.close()


@dataclass
class DurableHouse(House):
    """A gateway over a durable queue, with its dispatcher."""

    queue: Queue
    simulator: Simulator


@asynccontextmanager
async def durable_house(
    folder: Path,
    *,
    simulated: SimulatorSettings | None = None,
    max_waiting: int | None = None,
    dispatch: bool = True,
    **options: Any,
) -> AsyncIterator[DurableHouse]:
    """A gateway whose jobs go into a queue, carried out at a simulated server; without `dispatch` they wait."""
    async with (
        Simulator(simulated or SimulatorSettings(port=0)) as simulator,
        await asyncio.to_thread(Queue, "", folder / "queue", max_waiting=max_waiting) as queue,
        contextlib.AsyncExitStack() as stack,
    ):
        await queue.fleet.add(simulator.url)
        dispatcher = Dispatcher(queue, "test")
        if dispatch:
            await stack.enter_async_context(dispatcher)
            await _reached(dispatcher)

        async def types() -> list[NodeTypes]:
            return dispatcher.prober.kinds()

        def durable(settings: GatewaySettings) -> DurableJobs:
            return DurableJobs(queue, Admission(settings, types, queue.uploads), settings.limits)

        async with (
            gateway_to(folder, (BackendAddress(simulator.url),), durable=durable, **options) as made,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
        ):
            url, gateway, store, ledger = made
            yield DurableHouse(url, simulator.url, gateway, store, ledger, session, queue, simulator)


async def _reached(dispatcher: Dispatcher) -> None:
    """Wait until it is known what the backend offers."""
    async with asyncio.timeout(20):
        while True:
            if dispatcher.prober.kinds():
                return
            await asyncio.sleep(0.01)


async def finished(home: House, token: str, job: str) -> dict[str, Any]:
    """Wait for a job's end; gives its entry of history."""
    async with asyncio.timeout(15):
        while True:
            _, history = await home.ask("GET", f"/history/{job}", token)
            if job in history:
                found: dict[str, Any] = history[job]
                return found
            await asyncio.sleep(0.02)
