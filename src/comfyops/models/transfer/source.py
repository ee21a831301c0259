"""Asking a source what a file is and where its bytes are, without fetching it: one request to the hub."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyops.errors import DownloadError
from comfyops.models.transfer.answers import (
    Answer,
    Outcome,
    joined,
    number,
    refusal,
    sha256_in,
    shown,
    total_in,
    web_page,
)
from comfyops.models.transfer.http import Connections, origin
from comfyops.models.transfer.pacing import retry_after
from comfyops.models.transfer.request import TransferSettings

_MOST_HOPS = 8
_BUSY = frozenset({408, 425, 429})
NO_HEAD = frozenset({400, 403, 404, 405, 406, 500, 501})
"""What servers say that know a file but no HEAD."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file at a source. `location` is where the bytes are (a signed address, never logged); `etag` is theirs."""

    url: str
    location: str = field(repr=False)
    size: int | None
    sha256: str | None = None
    etag: str | None = None
    commit: str | None = None


class Resolver:
    """Follows an address to its bytes: HEAD, hop by hop; a server that refuses HEAD is asked for one byte."""

    def __init__(self, settings: TransferSettings, connections: Connections) -> None:
        self._settings = settings
        self._connections = connections

    def resolve(self, url: str) -> Source | Outcome:
        """The source behind an address, or what its server said instead (busy, again, refused).

        Raises UntrustedSourceError (an address on the way is not allowed), another ModelError of `locate`, and what
        broken connections raise.
        """
        if (found := self._settings.locate(url)) is not None:
            return found
        home, here = origin(url), url
        known: dict[str, str] = {}
        for _ in range(_MOST_HOPS):
            self._settings.allow(here)
            answer = self._look(here, authorization(self._settings, here) if origin(here) == home else {})
            known = {**known, **{key: value for key, value in answer.headers.items() if key.startswith("x-")}}
            if not (300 <= answer.status < 400 and "location" in answer.headers):
                return self._judged(url, answer, known)
            here = joined(here, answer.headers["location"])
            if "x-linked-size" in known and origin(here) != home:
                self._settings.allow(here)
                return _source(url, here, known)
        return Outcome("refused", error=DownloadError(f"{shown(url)} redirects in circles."))

    def _look(self, url: str, headers: dict[str, str]) -> Answer:
        connection = self._connections.to(url)
        answer = connection.ask("HEAD", url, headers)
        connection.finish()
        tells = bool(answer.length) and not answer.is_compressed  # 0 is what some servers say of anything
        silent = answer.status == 200 and not tells and "x-linked-size" not in answer.headers
        if silent or (answer.status in NO_HEAD and "x-error-code" not in answer.headers):
            byte = connection.ask("GET", url, {**headers, "Range": "bytes=0-0"})
            if byte.status == 206 and byte.length == 1:
                connection.read(memoryview(bytearray(1)))
            connection.finish()
            return byte if not silent or byte.status in (200, 206) else answer
        return answer

    def _judged(self, url: str, answer: Answer, known: dict[str, str]) -> Source | Outcome:
        status = answer.status
        if status in (200, 206):
            if answer.is_page:
                return Outcome("refused", error=web_page(answer.url))
            size = total_in(answer.headers.get("content-range")) if status == 206 else answer.length
            if answer.is_compressed:
                return _source(url, answer.url, known)
            return _source(url, answer.url, known, size, answer.etag)
        if status in _BUSY or status >= 500:
            wait = retry_after(answer.headers.get("retry-after"), answer.headers.get("date"))
            kind = "busy" if status in _BUSY or wait is not None else "again"
            return Outcome("busy" if kind == "busy" else "again", f"HTTP {status}", wait=wait)
        if status in (401, 403) and origin(answer.url) != origin(url):
            return Outcome("again", f"HTTP {status} at its store")  # a signed address that has run out on the way
        return Outcome("refused", f"HTTP {status}", error=refusal(answer))


def authorization(settings: TransferSettings, url: str) -> dict[str, str]:
    """The header that carries the token of an address's host; empty where there is none."""
    token = settings.token_for(origin(url).name)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _source(url: str, location: str, known: dict[str, str], size: int | None = None, etag: str | None = None) -> Source:
    linked = number(known.get("x-linked-size"))
    return Source(
        url=url,
        location=location,
        size=size if linked is None else linked,
        sha256=sha256_in(known.get("x-linked-etag")),
        etag=etag,
        commit=known.get("x-repo-commit"),
    )
