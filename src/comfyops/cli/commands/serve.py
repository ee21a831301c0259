"""`comfyops serve`: the gateway before one or several ComfyUI servers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from comfyops import app as parts
from comfyops.cli import logs
from comfyops.cli.model_options import ModelsDir
from comfyops.cli.options import Json, settings, wait_for
from comfyops.cli.output import Result, emit, say
from comfyops.cli.serve_launch import ComfyUIPath, Extra, Launch, LaunchWish, Python, launch_wish, launched
from comfyops.cli.serve_options import (
    AllowHost,
    AllowNode,
    AllowOrigin,
    Backend,
    BackendToken,
    Certificate,
    DenyNode,
    Home,
    Host,
    Key,
    MaxConnections,
    MaxJobs,
    MaxRequests,
    OpenListen,
    OpenMode,
    OpenOwner,
    OpenRole,
    Page,
    PassThrough,
    Port,
    QueryToken,
    SharedUserdata,
    TrustProxy,
)
from comfyops.errors import UsageError
from comfyops.service import durable_jobs

if TYPE_CHECKING:
    from comfyops.config import Settings
    from comfyops.deploy.keeping import Keeper
    from comfyops.gateway.serving import Listen, Served
    from comfyops.gateway.settings import BackendAddress, Classes, GatewaySettings

Chosen = Callable[[tuple["BackendAddress", ...]], "GatewaySettings"]

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    extra: Extra = None,
    backend: Backend = None,
    host: Host = "127.0.0.1",
    port: Port = 8189,
    home: Home = None,
    backend_token: BackendToken = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    trust_proxy: TrustProxy = None,
    query_token: QueryToken = False,
    shared_userdata: SharedUserdata = False,
    deny_node: DenyNode = None,
    allow_node: AllowNode = None,
    max_jobs: MaxJobs = None,
    max_requests: MaxRequests = 5000,
    max_connections: MaxConnections = None,
    certificate: Certificate = None,
    key: Key = None,
    open_listen: OpenListen = None,
    open_owner: OpenOwner = "local",
    open_role: OpenRole = "artist",
    open_mode: OpenMode = "600",
    models_dir: ModelsDir = None,
    pass_through: PassThrough = False,
    page: Page = False,
    launch: Launch = False,
    comfyui_path: ComfyUIPath = None,
    python: Python = None,
    as_json: Json = False,
) -> None:
    """Stand before ComfyUI until Ctrl-C: nobody gets through without a credential, and nothing that breaks it.

    Without --backend and --launch a simulated server is started.
    """
    from comfyops.gateway.browser import origin_of
    from comfyops.gateway.opened import opened
    from comfyops.gateway.proxies import Proxies
    from comfyops.gateway.serving import Listen
    from comfyops.gateway.settings import GatewaySettings, Limits
    from comfyops.gateway.settings import backend as address

    configured = settings(comfyui_path=comfyui_path, models_dir=models_dir, home=home)
    logs.protect(configured, backend_token)
    _check_tls(certificate, key)
    without = opened(open_listen, open_owner, open_role, open_mode) if open_listen is not None else None
    listen = Listen(host, port, certificate, key, without)
    wish = launch_wish(launch, comfyui_path, python, extra, quiet=as_json)
    chosen = partial(
        GatewaySettings,
        classes=_classes(allow_node or [], deny_node or []),
        hosts=frozenset(name.lower() for name in [*(allow_host or []), host]),
        origins=frozenset(map(origin_of, allow_origin or [])),
        proxies=Proxies.of(trust_proxy or []),
        query_token=query_token,
        oidc=configured.oidc,
        shared_userdata=shared_userdata,
        limits=Limits(
            jobs=max_jobs or Limits().jobs,
            requests_per_second=max_requests,
            connections=max_connections,
            stall_seconds=settings().stall_timeout,
        ),
    )
    named = tuple(address(text, backend_token) for text in backend or [])
    if max_jobs is not None:
        configured = configured.model_copy(update={"max_waiting": max_jobs})
    run = _Run(configured, listen, named, backend_token, as_json, durable=not pass_through)
    with contextlib.suppress(KeyboardInterrupt):  # the way in which a server is meant to end
        if wish is not None:
            wait_for(_launched(chosen, wish, run), _loop())
        elif backend:
            wait_for(_serve(chosen(named), run), _loop())
        else:
            wait_for(_simulated(chosen, run, page=page), _loop())


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise UsageError("A certificate needs its key, and a key its certificate.")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise UsageError(f"{file} is no file.")


@dataclass(frozen=True, slots=True)
class _Run:
    """How to serve."""

    configured: Settings
    listen: Listen
    named: tuple[BackendAddress, ...]
    backend_token: str | None
    as_json: bool
    durable: bool


async def _launched(chosen: Chosen, wish: LaunchWish, run: _Run) -> None:
    async with launched(wish) as keeper:
        await _serve_own(chosen, keeper.url, run, keeper)


async def _simulated(chosen: Chosen, run: _Run, *, page: bool) -> None:
    from comfyops.simulator.server import Simulator
    from comfyops.simulator.settings import SimulatorSettings

    async with Simulator(SimulatorSettings(port=0, page=page)) as simulator:
        say("no --backend was given: this is a simulated ComfyUI, which draws nothing real")
        await _serve_own(chosen, simulator.url, run)


async def _serve_own(chosen: Chosen, url: str, run: _Run, keeper: Keeper | None = None) -> None:
    """Serve with a server that this process started before those that were named; it is simulated without a keeper."""
    from comfyops.gateway.settings import BackendAddress

    own = BackendAddress(url, run.backend_token, keeper)
    await _serve(chosen((own, *run.named)), run, passing=(url,), simulated=keeper is None)


async def _serve(
    gateway: GatewaySettings, run: _Run, *, passing: tuple[str, ...] = (), simulated: bool = False
) -> None:
    from comfyops.gateway.serving import serving

    configured, listen = run.configured, run.listen
    async with AsyncExitStack() as stack:
        service = None
        if run.durable:
            service = await stack.enter_async_context(durable_jobs(configured, gateway, passing=passing))
        work, native = (service.work, service.native) if service is not None else (None, None)
        mounts = await stack.enter_async_context(parts.ops_mounts(configured, gateway.backends, work))
        mounts |= service.mounts if service is not None else {}
        folder = configured.home.expanduser()
        served = await stack.enter_async_context(serving(gateway, configured.auth, folder, listen, mounts, native))
        _settle()
        _tell(gateway, served, run, simulated=simulated)
        await (service.dispatcher.serve() if service is not None else asyncio.Event().wait())


def _tell(gateway: GatewaySettings, served: Served, run: _Run, *, simulated: bool) -> None:
    backends = [item.url for item in gateway.backends]
    if run.as_json:
        data = {"url": served.url, "opened": served.opened, "backends": backends, "simulated": simulated}
        emit(Result("serve", {**data, "durable": run.durable}), as_json=True)
    say(f"gateway ready at {served.url}, before {', '.join(backends)} (stop it with Ctrl-C)")
    say(f"operators see backends and models at {served.url}/ops")
    if run.listen.opened is not None:
        who = f"{run.listen.opened.owner!r} ({run.listen.opened.role})"
        say(f"open at {served.opened}: who reaches it needs no credential and acts as {who}")


def _settle() -> None:
    """What is loaded by now stays, and requests leave next to no cycles: to look for garbage at Python's usual pace
    takes an eighth of the time of a busy gateway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The quicker event loop, where there is one for this system."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _classes(allow: list[str], deny: list[str]) -> dict[str, Classes]:
    """The rules of nodes by role, from ROLE=CLASS texts. Raises UsageError."""
    from comfyops.gateway.settings import Classes

    allowed, denied = _by_role(allow), _by_role(deny)
    return {
        role: Classes(frozenset(allowed[role]) if role in allowed else None, frozenset(denied.get(role, ())))
        for role in {**allowed, **denied}
    }


def _by_role(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        role, equals, name = text.partition("=")
        if not (role and equals and name):
            raise UsageError(f"{text[:60]!r} is not ROLE=CLASS.")
        found.setdefault(role, []).append(name)
    return found
