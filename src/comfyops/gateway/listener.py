"""The gateway on a port, and on a listener that asks for no credential."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

from comfyops.errors import PortInUseError, UsageError
from comfyops.gateway.accepting import Acceptor
from comfyops.gateway.app import Gateway
from comfyops.gateway.certificates import kept_fresh
from comfyops.gateway.connection import Connection
from comfyops.gateway.limits import Places
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.opened import Opened
from comfyops.gateway.socket_connection import SocketConnection

Ending = Callable[[], Awaitable[None]]

_CONNECTIONS = 65_536  # and other files that may be open
_MESSAGE = 1024 * 1024  # bytes of one websocket message of a client


class _Listener(uvicorn.Server):
    """Leaves signals to whoever started it, and takes connections of a socket where there is a place for them."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket, places: Places) -> None:
        super().__init__(config)
        self._sock = sock
        self._places = places

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        self._sock.listen(self.config.backlog)
        make = functools.partial(  # type: ignore[call-arg]
            self.config.http_protocol_class, config=self.config, server_state=self.server_state, app_state={}
        )
        self.servers = [Acceptor(self._sock, make, self._places, self.config.ssl)]  # type: ignore[list-item]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Nothing is captured."""
        yield


@asynccontextmanager
async def listening(
    gateway: Gateway, host: str, port: int, *, certificate: str | None = None, key: str | None = None
) -> AsyncIterator[str]:
    """Serve the gateway while the block runs; gives its address. Port 0 is any free one.

    Raises PortInUseError and UsageError where it cannot listen there.
    """
    async with AsyncExitStack() as stack:
        allowed, limits = allow_connections(), gateway.settings.limits
        config = _config(gateway, limits.body_seconds, certificate, key)
        sock = stack.enter_context(contextlib.closing(_bound(host, port)))
        await gateway.start()
        if config.ssl is not None and certificate and key:
            await stack.enter_async_context(kept_fresh(config.ssl, Path(certificate), Path(key)))
        # each may need another one to a server: two fifths leave room for others even then
        places = Places(limits.connections or max(1, allowed * 2 // 5), gateway.settings.proxies)
        await stack.enter_async_context(_served(config, sock, gateway.stop, places))
        yield f"{'https' if certificate else 'http'}://{_written(host, sock)}"


@asynccontextmanager
async def opened_listening(app: ASGIApp, where: Opened, patience: float = 60.0) -> AsyncIterator[str]:
    """Serve where no credential is asked for, while the block runs; gives the address. Port 0 is any free one.

    `patience` is for how long (seconds) a client may take nothing of its answer.

    Raises PortInUseError and UsageError where it cannot listen there.
    """
    async with AsyncExitStack() as stack:
        if isinstance(where.place, Path):
            sock = stack.enter_context(contextlib.closing(_unix(where.place, where.mode)))
            stack.callback(where.place.unlink, missing_ok=True)
            address = f"unix:{where.place}"
        else:
            sock = stack.enter_context(contextlib.closing(_bound(*where.place)))
            address = f"http://{_written(where.place[0], sock)}"
        places = Places(_CONNECTIONS)  # all who come here are this machine, or what it serves
        await stack.enter_async_context(_served(_config(app, patience), sock, _nothing, places))
        yield address


@asynccontextmanager
async def _served(config: uvicorn.Config, sock: socket.socket, ending: Ending, places: Places) -> AsyncIterator[None]:
    """`ending` lets go of what the application holds open, before the end of its connections is waited for."""
    server = _Listener(config, sock, places)
    task = asyncio.get_running_loop().create_task(server.serve())
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
            raise UsageError("The gateway cannot listen.")
        yield
    finally:
        server.should_exit = True
        await ending()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _nothing() -> None:
    """What a second listener holds open ends with the gateway, or after uvicorn's patience."""


def _config(app: ASGIApp, patience: float, certificate: str | None = None, key: str | None = None) -> uvicorn.Config:
    """How to serve. Raises UsageError where certificate or key are none."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws=SocketConnection,
        ws_per_message_deflate=False,
        ws_max_size=_MESSAGE,
        http=functools.partial(Connection, patience=patience),  # type: ignore[arg-type]
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_keyfile_password=" ",  # an encrypted key is refused, and not asked about on the terminal
    )
    try:
        config.load()
    except OSError as error:  # which an SSLError is
        hint = "Both are PEM files, and the key is that of the certificate, without a passphrase."
        raise UsageError(f"Certificate or key cannot be used: {error.strerror or error}.", hint=hint) from error
    return config


def allow_connections() -> int:
    """Let this process have as many files and connections open as the system lets it, within reason; gives how many.

    What a shell or a service starts may have 1,024: who opens so many connections would keep everybody else out.
    """
    if resource is None:
        return _CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _CONNECTIONS:
        return _CONNECTIONS
    wanted = _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _CONNECTIONS)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _written(host: str, sock: socket.socket) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"There is no address {host[:100]!r} to listen on.", hint="Give another with --host."
        ) from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise PortInUseError(f"The gateway cannot listen on {host}:{port}: {error.strerror}.") from error
    sock.setblocking(False)
    return sock


def _unix(path: Path, mode: int) -> socket.socket:
    """A socket at a path, with its mode from the first moment on; one that a dead gateway left is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("This system has no unix sockets.", hint="Listen on 127.0.0.1:PORT.")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_room(path)
        os.fchmod(sock.fileno(), mode)
        sock.bind(str(path))
        path.chmod(mode)
    except PortInUseError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise UsageError(f"The gateway cannot listen at {path}: {error.strerror or error}.") from error
    sock.setblocking(False)
    return sock


def _make_room(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise PortInUseError(f"{path} is there already, and is no socket.", hint="Give another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        try:
            asked.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise PortInUseError(f"Somebody listens at {path} already.", hint="Stop it, or give another path.")
