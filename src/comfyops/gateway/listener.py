"""The gateway on a port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from comfyops.errors import PortInUseError, UsageError
from comfyops.gateway.app import Gateway

_HEAD = 64 * 1024  # bytes of a request's head
_MESSAGE = 1024 * 1024  # bytes of one websocket message of a client


class _Listener(uvicorn.Server):
    """Leaves signals to whoever started it."""

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
    sock = _bound(host, port)
    config = uvicorn.Config(
        gateway,
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=_MESSAGE,
        h11_max_incomplete_event_size=_HEAD,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = _Listener(config)
    await gateway.start()
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
            raise UsageError("The gateway cannot listen.")
        name = f"[{host}]" if ":" in host else host
        yield f"{'https' if certificate else 'http'}://{name}:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await gateway.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        sock.close()


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
