"""The few small questions that sources are asked: HEAD and GET, with a person's trust and tokens, over the stdlib.

A client of our own, because each hop of a redirect must be allowed before it is asked, a token must stay with its host,
and an answer must end at a size; huggingface_hub offers none of this for other sources, reads its settings when it is
imported, and would bring eight packages for two requests. The files themselves are fetched by `models.transfer`.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from comfyops import __version__
from comfyops.errors import DownloadError
from comfyops.models.entry import SAFE
from comfyops.models.sources.buckets import Buckets
from comfyops.models.transfer.answers import joined
from comfyops.models.transfer.pacing import retry_after, span
from comfyops.models.trust import Trust, place_of
from comfyops.support import proxies

MOST_HOPS = 8
MOST_BYTES = 8 * 1024 * 1024
"""Largest answer that is read."""

_AGAIN = frozenset({429, 500, 502, 503, 504})
_MOST_WAIT = 20.0  # seconds of Retry-After that are waited for
_MOVED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: status, headers by lower-case name, the beginning of its body, and the address that gave it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON.

        Raises DownloadError where it is none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise DownloadError(f"{self.url.partition('?')[0]} did not answer with JSON.") from error


@dataclass(frozen=True)
class Web:
    """Asks sources. `timeout` in seconds for each step, `attempts` in all for what may pass by itself,
    `endpoints` are mirrors by the address that they stand for, `buckets` those of object storage that may be asked."""

    trust: Trust
    offline: bool = False
    timeout: float = 15.0
    attempts: int = 4
    first_pause: float = 0.5
    endpoints: Mapping[str, str] = field(default_factory=dict)
    buckets: Buckets = field(default_factory=Buckets)
    proxies: proxies.Proxies = proxies.NONE

    def rewritten(self, url: str) -> str:
        """The address at a person's mirror, where one stands for its host."""
        for original, mirror in self.endpoints.items():
            if url.startswith(original + "/"):
                return mirror.rstrip("/") + url.removeprefix(original)
        return url

    def post(self, url: str, value: Any) -> Answer:
        """The answer to a POST of a JSON value, which is sent once.

        Raises UntrustedSourceError, DownloadError.
        """
        self.trust.allow(url)
        body = json.dumps(value).encode()
        try:
            return self._once("POST", url, {"Content-Type": "application/json"}, body)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise DownloadError(f"{_shown(url)} cannot be asked: {error or type(error).__name__}.") from error

    def ask(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, stay: bool = False) -> Answer:
        """The answer to a request; redirects are followed, unless `stay` (then only within one host).

        Raises UntrustedSourceError for a hop that is not allowed, DownloadError where no answer comes.
        """
        if self.offline:
            raise offline_error()
        for _ in range(MOST_HOPS):
            answer = self._patiently(method, url, headers or {})
            target = answer.headers.get("location")
            if answer.status not in _MOVED or not target:
                return answer
            following = joined(url, quote(target, safe=SAFE))
            if stay and place_of(following) != place_of(url):
                return answer
            url = following
        raise DownloadError(f"{_shown(url)} leads from one address to the next without end.")

    def _patiently(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """One request, repeated for faults that may pass."""
        pause, reason = self.first_pause, ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(pause)
                pause = min(2 * pause, _MOST_WAIT)
            self.trust.allow(url)
            try:
                answer = self._once(method, url, headers)
            except ssl.SSLCertVerificationError as error:
                raise DownloadError(f"{_shown(url)} has no valid certificate: {error.verify_message}.") from error
            except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last for what can be no name
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                continue
            if answer.status not in _AGAIN:
                return answer
            reason = f"it answers {answer.status}"
            wanted = retry_after(answer.headers.get("retry-after"), answer.headers.get("date"))
            if wanted is not None and wanted > _MOST_WAIT * (self.attempts - attempt - 1):
                reason += f", and wants to be left alone for {span(wanted)}"
                break
            pause = min(pause if wanted is None else wanted, _MOST_WAIT)
        raise DownloadError(f"{_shown(url)} cannot be asked: {reason.rstrip('.')}.", hint="Try again later.")

    def _once(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None = None) -> Answer:
        proxy = self.proxies.of(url)
        connection = proxies.connection(url, proxy, self.timeout)
        target, also = proxies.absolute(url, _path(url), proxy)
        token = self.trust.token_for(place_of(url))
        own = {"Authorization": f"Bearer {token}"} if token else {}
        base = {"User-Agent": f"comfyops/{__version__}", "Accept-Encoding": "identity"}
        try:
            connection.request(method, target, sent, headers={**base, **headers, **own, **also})
            with connection.getresponse() as answer:
                body = answer.read(MOST_BYTES) if _small(answer) else b""
                return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body, url)
        finally:
            connection.close()


def offline_error() -> DownloadError:
    """Why nothing is asked."""
    return DownloadError("No source is asked while offline.", hint="Unset HF_HUB_OFFLINE (COMFYOPS_OFFLINE).")


def _small(answer: http.client.HTTPResponse) -> bool:
    """Whether the body is one to read: never that of a file, which a server may send though a part was asked for."""
    return "json" in (answer.getheader("Content-Type") or "")


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _shown(url: str) -> str:
    return url.partition("?")[0]
