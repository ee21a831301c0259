"""One connection to one host, kept open between requests (http.client; blocking, so one thread at a time)."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from comfyops.errors import UntrustedSourceError
from comfyops.models.transfer.answers import Answer, shown
from comfyops.models.transfer.pacing import ConnectTimeoutError
from comfyops.models.transfer.ranges import UNBOUNDED
from comfyops.models.transfer.request import TransferSettings
from comfyops.support import proxies

_CONNECT_TIMEOUT = 5.0
_WEB = ("http", "https")
_SCHEMES = (*_WEB, "s3", "gs", "az")  # the further ones are located (see request.py), never connected to
_SAFE = "%/:=&?~#+!$,;'@()*[]|"
_GATHER = 0.05  # seconds for which small pieces are gathered before they are written

NETWORK_ERRORS = (OSError, http.client.HTTPException)
"""What a broken connection raises; ssl.SSLError and timeouts are OSErrors."""


class _Stream(Protocol):
    def readinto1(self, view: memoryview, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an address."""

    scheme: str
    host: str
    port: int | None

    @property
    def name(self) -> str:
        """As tokens are given for: "huggingface.co", "localhost:8080"."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """As an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" if self.port is None else f"{self.scheme}://{host}:{self.port}"


def origin(url: str) -> Origin:
    """The origin of an address. Raises UntrustedSourceError where it is not one of http, https or object storage."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname:
            return Origin(parts.scheme, parts.hostname, parts.port)
    except ValueError:
        pass
    raise UntrustedSourceError(f"{shown(url)[:200]!r} is not an address of http or https.")


class Connections:
    """The connections of one thread: one per host, the least recently used closed when there are too many."""

    MOST = 3

    def __init__(self, settings: TransferSettings, tls: Tls) -> None:
        self._settings = settings
        self._tls = tls
        self._open: dict[Origin, Connection] = {}

    def to(self, url: str) -> Connection:
        """The connection to an address's host."""
        place = origin(url)
        if place.scheme not in _WEB:
            raise UntrustedSourceError(f"{shown(url)} is in object storage, and none is set up.")
        connection = self._open.pop(place, None) or Connection(place, self._settings, self._tls)
        while len(self._open) >= self.MOST:
            self._open.pop(next(iter(self._open))).close()
        self._open[place] = connection
        return connection

    def abort(self) -> None:
        """End them from another thread: who waits for an answer waits no longer."""
        for connection in tuple(self._open.values()):
            connection.abort()

    def close(self) -> None:
        """Close them all."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()


class Connection:
    """A connection to one host; opened when needed, opened again when the server has closed it meanwhile."""

    def __init__(self, place: Origin, settings: TransferSettings, tls: Tls) -> None:
        timeout = min(_CONNECT_TIMEOUT, settings.stall_timeout)
        self._proxy = settings.proxies.of(place.url)
        context = tls.context() if place.scheme == "https" else None
        self._http = proxies.connection(place.url, self._proxy, timeout, context)
        self._stall = settings.stall_timeout
        self._left = 0
        self._line: socket.socket | None = None  # of the last request; `_http` lets it go where the server ends it
        self.ends_itself = True
        """Whether the body says where it ends; one that ends with its connection may have been cut."""
        self._response: http.client.HTTPResponse | None = None

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Send a request and read the answer's head; its body is then read with `read`.

        Raises what broken connections raise (NETWORK_ERRORS).
        """
        if self._left:
            self.close()  # the rest of an earlier body is still to come
        reused = self._http.sock is not None
        try:
            response = self._send(method, url, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not reused:
                raise
            response = self._send(method, url, headers)
        self._response = response
        known = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, known, url)
        self._left = 0 if method == "HEAD" else UNBOUNDED if answer.length is None else answer.length
        self.ends_itself = response.chunked or answer.length is not None
        return answer

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
        if self._http.sock is None:
            self._connect()
        target, also = proxies.absolute(url, target, self._proxy)
        with _said():
            self._http.request(method, target, headers={"Accept-Encoding": "identity", **headers, **also})
        if self._http.sock is not None:
            self._http.sock.settimeout(self._stall)
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line = self._http.sock
        return self._http.getresponse()

    def _connect(self) -> None:
        try:
            with _said():
                self._http.connect()
        except TimeoutError as error:
            self.close()
            raise ConnectTimeoutError(f"no connection within {self._http.timeout:g} s") from error

    def read(self, view: memoryview) -> int:
        """Read some of the body into `view`: what comes within a moment, at most what fits; 0 at its end.

        Raises what broken connections raise; TimeoutError where nothing comes for the stall timeout.
        """
        response = self._response
        if response is None or response.fp is None:
            return 0
        if response.chunked:
            piece = response.read1(len(view))
            view[: len(piece)] = piece
            self._left = UNBOUNDED if piece else 0
            return len(piece)
        return self._gather(response.fp, view[: self._left])

    def _gather(self, stream: _Stream, view: memoryview) -> int:
        until = time.monotonic() + _GATHER
        filled = 0
        while filled < len(view):
            try:
                got = stream.readinto1(view[filled:])
            except OSError:
                if not filled:
                    raise
                break  # what came before the line broke counts; the next read says that it did
            filled += got
            if not got or not _is_readable(self._line, until - time.monotonic()):
                break  # whoever waits here holds back what has come from the file and its journal
        self._left -= filled
        return filled

    def finish(self) -> None:
        """Done with the answer: the connection is kept where its body was read to the end."""
        if self._left:
            self.close()
        elif self._response is not None:
            self._response.close()
            self._response = None

    def abort(self) -> None:
        """End it from another thread: a read that waits for bytes fails at once."""
        line = self._line or self._http.sock
        if line is not None:
            with suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # not TLS's own, which would disturb the reader

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        if self._response is not None:
            self._response.close()
            self._response = None
        self._http.close()
        self._line = None
        self._left = 0


@contextmanager
def _said() -> Iterator[None]:
    """What a server said (an address, a validator) may be nothing that can be said to a server."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, OSError):  # a certificate that is not trusted
            raise
        raise http.client.InvalidURL(str(error)) from error


def _is_readable(line: socket.socket | None, seconds: float) -> bool:
    """Whether more comes within so many seconds; False once they are over."""
    if line is None or seconds <= 0:
        return False
    if isinstance(line, ssl.SSLSocket) and line.pending():
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([line], [], [], seconds)[0])
    waiting = select.poll()
    waiting.register(line, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


class Tls:
    """The system's certificates, and those of `ca_file`; read when the first https connection needs them."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def context(self) -> ssl.SSLContext:
        """The one context of all connections."""
        with self._lock:
            if self._context is None:
                self._context = ssl.create_default_context()
                if self._ca_file is not None:
                    self._context.load_verify_locations(self._ca_file)
            return self._context
