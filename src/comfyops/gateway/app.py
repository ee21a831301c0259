"""The gateway as an ASGI application: let in, limit, check, pass on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from comfyops.auth import scopes
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.principal import Principal
from comfyops.errors import BackendError, QueueError, StorageError
from comfyops.gateway import browser, forward_auth, pages
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import DOOR, Door, Record
from comfyops.gateway.exchange import ClientGoneError, Exchange, Receive, Scope, Send
from comfyops.gateway.folders import hides_places, pass_names
from comfyops.gateway.kept import Kept
from comfyops.gateway.limits import Rates
from comfyops.gateway.local import Local
from comfyops.gateway.logs import pass_log, shows_log
from comfyops.gateway.mounts import ASGIApp, Mounts, Visit
from comfyops.gateway.own import Own
from comfyops.gateway.owners import Owners
from comfyops.gateway.refusal import RefusedError, not_found
from comfyops.gateway.server import Server
from comfyops.gateway.settings import GatewaySettings
from comfyops.gateway.sockets import Sockets
from comfyops.gateway.strangers import Strangers
from comfyops.gateway.submitting import Submitting
from comfyops.gateway.uploads import upload
from comfyops.gateway.userdata import Userdata, serves

if TYPE_CHECKING:
    from comfyops.gateway.durable.routes import DurableJobs

log = logging.getLogger("comfyops.gateway")

_QUIET = ("GET", "HEAD", "OPTIONS")
_HISTORY_V2 = "/history_v2/"

Handler = Callable[[Exchange, Own, Server], Awaitable[None]]


class _Open(Protocol):
    """What stays open for somebody, and ends when he may no longer be here."""

    def end(self) -> None:
        """End it."""
        ...


class Gateway:
    """The application. `start` and `stop` frame its life; in between it serves requests.

    `kept` is what pages keep for their owners; without it that is left to the server, which keeps it for all. `durable`
    takes jobs into a queue of ours; without it they go straight to the servers.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        authenticator: Authenticator,
        owners: Owners,
        record: Record,
        mounts: Mapping[str, ASGIApp] = MappingProxyType({}),
        kept: Kept | None = None,
        durable: DurableJobs | None = None,
    ) -> None:
        self.settings = settings
        self._durable = durable
        self.servers = [Server(address, settings.limits) for address in settings.backends]
        self.sockets = Sockets(settings.limits, owners)
        self._authenticator = authenticator
        self._owners = owners
        self._record = record = Strangers(record)
        self._door = Door(settings, authenticator)
        self._local = Local(settings, authenticator, record, self.servers)
        self._mounts = Mounts(mounts)
        self._userdata = Userdata(kept) if kept is not None else None
        self._submitting = Submitting(settings, owners)
        self._rates = Rates(settings.limits.requests_per_second, settings.limits.requests_burst)
        self._holders: dict[_Open, Principal | None] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch the servers and what is revoked."""
        await asyncio.gather(*(server.look() for server in self.servers))
        loop = asyncio.get_running_loop()
        for server in self.servers:
            if server.address.kept is not None:
                server.address.kept.tell(functools.partial(self._note_launch, server))
        self._tasks = [loop.create_task(server.watch()) for server in self.servers]
        self._tasks.append(loop.create_task(self._watch_revocations()))

    async def stop(self) -> None:
        """End every socket and connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in tuple(self._holders):
            held.end()
        await self.sockets.close()
        await self._local.close()
        for server in self.servers:
            server.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI asks for it."""
        if scope["type"] == "http":
            await self._http(Exchange(scope, receive, send, self.settings.limits), receive, send)
        elif forward_auth.comes_as_handshake(scope):
            await receive()  # websocket.connect
            answer = forward_auth.answering(send)
            await self._http(Exchange(scope, receive, answer, self.settings.limits), receive, answer)
        elif scope["type"] == "websocket":
            await self._websocket(Exchange(scope, receive, send, self.settings.limits), receive, send)

    async def _http(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        try:
            shown = await exchange.scope.get(DOOR, self._door).enter(exchange)
            mounted = self._mounts.find(exchange.path)
            if mounted is not None and not (exchange.method == "OPTIONS" and exchange.cors):
                await self._visit(exchange, Visit(exchange, receive, send), *mounted)
            else:
                await self._serve(exchange, shown)
        except RefusedError as refused:
            await self._refuse(exchange, refused)
        except BackendError as error:
            log.info("backend: %s", error.code)
            await self._refuse(exchange, RefusedError(502, error.code, "The backend does not answer as it should."))
        except (QueueError, StorageError) as error:
            log.error("storage: %s", error.message)
            await self._refuse(exchange, RefusedError(503, error.code, "The gateway cannot use its records now."))
        except ClientGoneError:
            pass
        except Exception:
            log.exception("a fault of the gateway")
            await self._refuse(exchange, RefusedError(500, "internal", "The gateway failed on this request."))

    async def _refuse(self, exchange: Exchange, refused: RefusedError) -> None:
        if exchange.started:  # half an answer: only the end of the connection can say that it is not whole
            raise ConnectionAbortedError
        self._note_refusal(exchange, refused)
        if refused.status == 401 and exchange.method == "GET" and b"text/html" in exchange.first(b"accept"):
            goal = forward_auth.goal(exchange)
            page = pages.sign_in(goal, provider=self.settings.provider)
            await exchange.answer(401, page, [*pages.HEADERS, (b"www-authenticate", b"Bearer")])
            return
        await exchange.refuse(forward_auth.told(exchange, refused))

    def _note_launch(self, server: Server, status: str, why: str) -> None:
        """A server that was started here has ended, or is started anew."""
        url = server.address.url
        log.warning("the server at %s: %s: %s", url, status, why)
        if status != "running":
            server.state = "unreachable"  # the next look at it tells more
        self._record("server", None, address="", target=url, allowed=status != "given up", reason=f"{status}: {why}")

    def _note_refusal(self, exchange: Exchange, refused: RefusedError) -> None:
        if refused.status < 500 and refused.status != 404:
            self._note(exchange, allowed=False, reason=refused.code)

    def _note(self, exchange: Exchange, *, allowed: bool, reason: str) -> None:
        target, address = f"{exchange.method} {exchange.path[:200]}", exchange.address
        self._record("request", exchange.principal, address=address, target=target, allowed=allowed, reason=reason)

    async def _serve(self, exchange: Exchange, shown: Credential) -> None:
        self._limit(exchange)
        local = self._local.routes.get((exchange.method, exchange.path))
        if local is not None:
            await local(exchange, shown)
            return
        if exchange.method == "OPTIONS" and exchange.cors:
            await exchange.answer(204, b"", browser.PREFLIGHT)
            return
        principal = exchange.principal
        if principal is None or exchange.path.startswith(("/auth", "/audit", "/ops", "/metrics", "/health")):
            raise not_found()
        await self._pass(exchange, principal)

    async def _visit(self, exchange: Exchange, visit: Visit, path: str, app: ASGIApp) -> None:
        self._limit(exchange)
        if exchange.method not in _QUIET:
            self._note(exchange, allowed=True, reason="")
        self._holders[visit] = exchange.principal
        try:
            await visit.serve(app, path)
        finally:
            self._holders.pop(visit, None)

    async def _pass(self, exchange: Exchange, principal: Principal) -> None:
        if exchange.path == "/ws":
            raise RefusedError(426, "upgrade_required", "This is the address of websockets.")
        server = self._server(principal)
        if exchange.path.startswith(_HISTORY_V2):  # what clients of Comfy Cloud ask for a job's history
            exchange.path = exchange.path.replace(_HISTORY_V2, "/history/", 1)
            exchange.raw_path = exchange.raw_path.replace(_HISTORY_V2.encode(), b"/history/", 1)
        if exchange.method not in _QUIET:
            self._note(exchange, allowed=True, reason="")
        if self._userdata is not None and serves(exchange.path):
            await self._userdata.serve(exchange, principal)
            return
        if self._durable is not None and await self._durable.serve(exchange, principal):
            return
        if exchange.method == "POST" and exchange.path == "/prompt":
            await self._submitting.submit(exchange, principal, server)
            return
        if not principal.may(scopes.JOBS_ALL):
            handler = _handler(exchange)
            if handler is not None:
                await handler(exchange, Own(server, self._owners, principal.id), server)
                return
        if hides_places(exchange.path, principal):
            await pass_names(exchange, server.upstream)
            return
        if shows_log(exchange, server.upstream):
            await pass_log(exchange, server.upstream)
            return
        await exchange.pass_on(server.upstream)

    def _limit(self, exchange: Exchange) -> None:
        principal = exchange.principal
        key = principal.id if principal is not None and principal.kind != "guest" else f"address {exchange.address}"
        wait = self._rates.take(key, time.monotonic())
        if wait:
            raise RefusedError(429, "too_many_requests", "You ask too much at once.", retry_after=max(1, round(wait)))

    def _server(self, principal: Principal) -> Server:
        """The server of this owner: always the same one, so that his files and history are there, while it is up."""
        servers = [server for server in self.servers if server.state != "unreachable"] or self.servers
        if len(servers) == 1:
            return servers[0]
        return max(servers, key=lambda server: hashlib.sha256(f"{principal.id} {server.address.url}".encode()).digest())

    async def _websocket(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        accepted = False

        async def watched(message: dict[str, object]) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            await send(message)

        try:
            await exchange.scope.get(DOOR, self._door).enter(exchange)
            self._limit(exchange)
            principal = exchange.principal
            if principal is None or exchange.path != "/ws":
                raise not_found()
            await self._relay(exchange, principal, receive, watched)  # type: ignore[arg-type]
        except RefusedError as refused:
            self._note_refusal(exchange, refused)
            if not accepted:
                await _deny(send, refused)
        except Exception:
            log.exception("a fault of the gateway")
            if not accepted:
                await _deny(send, RefusedError(500, "internal", "The gateway failed on this request."))

    async def _relay(self, exchange: Exchange, principal: Principal, receive: Receive, send: Send) -> None:
        clients = parse_qs(exchange.query.decode("latin-1")).get("clientId", [""])
        relays: list[_Open] = []

        def known(relay: _Open) -> None:
            relays.append(relay)
            self._holders[relay] = principal

        try:
            if self._durable is not None:
                features = self._server(principal).features
                sockets = self._durable.sockets
                await sockets.serve(principal.id, clients[0], receive, send, known=known, features=features)
                return
            server = self._server(principal)
            await self.sockets.relay(server, principal.id, clients[0], receive, send, known=known)
        finally:
            for relay in relays:
                self._holders.pop(relay, None)

    async def _watch_revocations(self) -> None:
        while True:
            with contextlib.suppress(StorageError):
                async for change in self._authenticator.subscribe_revocations():
                    for held, principal in tuple(self._holders.items()):
                        if principal is not None and change.concerns(principal):
                            held.end()
            await asyncio.sleep(1)


def _handler(exchange: Exchange) -> Handler | None:
    """What serves a route for somebody who sees only what is his; None where the route is the same for all."""
    names = exchange.path[1:].split("/")
    found = _OWN.get((("GET" if exchange.method == "HEAD" else exchange.method), names[0], len(names)))
    if names[:2] == _FILES and len(names) == 3:
        return lambda exchange, own, server: own.files(exchange)
    if found is None and names[0] in _GUARDED:
        raise not_found()
    if names[0] in _ASSETS and exchange.raw_path.startswith(b"/api/"):  # without /api they are files of the page
        words = "A server's assets are those of all: they are for who sees everybody's jobs. There is /api/v2/assets."
        raise RefusedError(403, "assets_of_all", words)
    return found


_ASSETS = ("assets", "tags")
_FILES = ["internal", "files"]
_GUARDED = ("history", "jobs", "history_v2", "upload", "interrupt")

_OWN: dict[tuple[str, str, int], Handler] = {
    ("GET", "queue", 1): lambda exchange, own, server: own.queue(exchange),
    ("POST", "queue", 1): lambda exchange, own, server: own.change_queue(exchange),
    ("POST", "interrupt", 1): lambda exchange, own, server: own.interrupt(exchange),
    ("GET", "history", 1): lambda exchange, own, server: own.history(exchange),
    ("GET", "history", 2): lambda exchange, own, server: own.history_entry(exchange, _last(exchange)),
    ("POST", "history", 1): lambda exchange, own, server: own.change_history(exchange),
    ("GET", "jobs", 1): lambda exchange, own, server: own.jobs(exchange),
    ("GET", "jobs", 2): lambda exchange, own, server: own.job(exchange, _last(exchange)),
    ("POST", "jobs", 2): lambda exchange, own, server: own.cancel_many(exchange),
    ("POST", "jobs", 3): lambda exchange, own, server: own.cancel(exchange, exchange.path.split("/")[2]),
    ("GET", "view", 1): lambda exchange, own, server: own.view(exchange),
    ("POST", "upload", 2): lambda exchange, own, server: upload(exchange, server, own),
}


def _last(exchange: Exchange) -> str:
    return exchange.path.rpartition("/")[2]


async def _deny(send: Send, refused: RefusedError) -> None:
    body = refused.body()
    headers = [(b"content-type", b"application/json; charset=utf-8"), *refused.headers(), *browser.SECURITY]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
