"""Requests to a ComfyUI server: every odd answer and every error of the HTTP library becomes an error of ours, here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from comfyops import __version__
from comfyops.backends.json_text import loads
from comfyops.backends.refusals import LOGIN_HINT, refusal, translate
from comfyops.errors import BackendError, ComfyOpsError, NotComfyUIError, UsageError

MAX_ANSWER = 1024**3
"""Bytes of the largest answer that is read into memory."""

_BIG = 256 * 1024  # bytes; larger JSON is parsed in a thread


class Http:
    """The way to one server: base address, token, timeouts, one connection pool; answers up to `max_answer` bytes.

    `timeout` is in seconds: for one whole answer, or between two pieces of a file. Redirects are never followed, so
    that the token goes nowhere else. Raises UsageError for an address or token that cannot be.
    """

    def __init__(
        self, url: str, *, token: str | None, api_prefix: str, timeout: float, max_answer: int = MAX_ANSWER
    ) -> None:
        self.url = checked_url(url)
        self._prefix = "/".join(["", *filter(None, api_prefix.split("/"))]) if api_prefix.strip("/") else ""
        self._headers = {"User-Agent": f"comfyops/{__version__}", "Accept": "*/*"}
        if token:
            self._headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self.timeout = timeout
        self._max_answer = max_answer
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def address(self, route: str) -> str:
        """The full address of a route; "/api/jobs" exists only once, with or without a prefix that ends in /api."""
        if route.startswith("/api/") and self._prefix.endswith("/api"):
            route = route.removeprefix("/api")
        return f"{self.url}{self._prefix}{route}"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    async def get(self, route: str, params: Mapping[str, str] | None = None) -> Any:
        """The parsed JSON of a GET."""
        return await self.json("GET", route, params=params)

    async def post(self, route: str, body: Any) -> Any:
        """The parsed JSON of a POST, None for an empty answer."""
        return await self.json("POST", route, json=body)

    async def json(self, method: str, route: str, **arguments: Any) -> Any:
        """The parsed JSON of any request, None for an empty answer."""
        async with self.request(method, route, **arguments) as response:
            body = await self._read(response)
            return await _parse(body, response, route)

    async def read(self, route: str, params: Mapping[str, str]) -> bytes:
        """The bytes of a GET."""
        async with self.request("GET", route, params=params, whole=False) as response:
            return await self._read(response)

    async def pieces(self, route: str, params: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The bytes of a GET, piece by piece."""
        async with self.request("GET", route, params=params, whole=False) as response:
            async for piece in response.content.iter_chunked(_BIG):
                yield piece

    @asynccontextmanager
    async def request(
        self, method: str, route: str, *, whole: bool = True, **arguments: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer, before its body is read. Without `whole` the timeout is for each piece of the body."""
        total = self.timeout if whole else None
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=self.timeout, sock_read=self.timeout)
        with self.translated(route):
            address = self.address(route)
            async with self.session().request(
                method, address, timeout=timeout, allow_redirects=False, **arguments
            ) as response:
                if response.status >= 300:
                    raise await self._refusal(response, route)
                yield response

    def session(self) -> aiohttp.ClientSession:
        """The pool of connections, made when first needed."""
        if self._closed:
            raise UsageError("This client is closed.")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=32),
            )
        return self._session

    async def close(self) -> None:
        """Close all connections; the way cannot be used again."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @contextmanager
    def translated(self, route: str) -> Iterator[None]:
        """Errors of the HTTP library inside become ours."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise translate(error, self.url, route, self.timeout) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length <= _BIG and "Content-Encoding" not in response.headers:
            return await response.read()
        pieces, size = [], 0
        async for piece in response.content.iter_chunked(_BIG):
            pieces.append(piece)
            size += len(piece)
            if size > self._max_answer:
                raise BackendError(
                    f"The answer of {self.url} to {response.url.path} is larger than {self._max_answer >> 20} MiB.",
                    hint="Write it to a file instead, or clear the server's history.",
                )
        return b"".join(pieces)

    async def _refusal(self, response: aiohttp.ClientResponse, route: str) -> ComfyOpsError:
        body = (await self._read(response)).decode(errors="replace")
        location = response.headers.get("Location", "")
        return refusal(response.status, body, location, self.url, route)


async def _parse(body: bytes, response: aiohttp.ClientResponse, route: str) -> Any:
    if not body:
        return None
    try:
        return loads(body) if len(body) < _BIG else await asyncio.to_thread(loads, body)
    except (ValueError, RecursionError) as error:
        kind = "an HTML page" if "html" in response.content_type else "something that is not JSON"
        raise NotComfyUIError(
            f"{response.url.origin()} answers {route} with {kind}: it is not a ComfyUI server.", route=route
        ) from error


def checked_url(url: str) -> str:
    """The address of a server, without a slash at its end. Raises UsageError for one that cannot be."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or any(char.isspace() for char in url):
        raise UsageError(
            f"{url[:200]!r} is not the address of a server.", hint="Give it as http://127.0.0.1:8188.", url=url
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token or not token.isascii() or any(char.isspace() or ord(char) < 32 for char in token):
        raise UsageError("The token holds spaces or characters that a header cannot carry.", hint=LOGIN_HINT)
    return token
