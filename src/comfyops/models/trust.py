"""Which addresses models may come from, and who is told which token.

Denied unless allowed: https only, to the official sources and where those keep their files, no user names in
addresses, no private or local network. A person adds hosts with the setting `model_hosts`; those may be private, and
may use plain http where they are given with it. Every hop of a redirect is asked about anew. A token goes to the host
it belongs to and to no other.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, urlsplit

from comfyops.errors import UntrustedSourceError, UsageError
from comfyops.support.addresses import is_public
from comfyops.support.proxies import NONE, Proxies

HOSTS = frozenset(
    {
        "huggingface.co",
        "hf.co",
        "civitai.com",
        "github.com",
        "objects.githubusercontent.com",
        "release-assets.githubusercontent.com",
    }
)
"""The official sources, and where GitHub keeps the files of releases."""

STORAGE = re.compile(
    r"[a-z0-9.-]+\.(huggingface\.co|hf\.co|civitai\.com)|civitai-[a-z0-9-]+\.[0-9a-f]{32}\.r2\.cloudflarestorage\.com"
)
"""Where Hugging Face and Civitai keep their files."""

Resolver = Callable[[str], Iterable[str]]

_NO_LOGIN = "Write it without them; a token is given by HF_TOKEN or CIVITAI_API_TOKEN."
_REMEMBERED = 60.0  # seconds that a host's addresses are believed


def addresses(host: str) -> tuple[str, ...]:
    """The addresses of a host; empty where its name is not known, which the connection then says better."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for what can be no name
        return ()
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


@dataclass(frozen=True)
class Trust:
    """Answers what may be asked. `own` are a person's hosts ("host" or "host:port"), `plain` those of them for http.

    A host that is asked through one of `proxies` is not looked up here: the proxy does that, and knows other names.
    """

    own: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    resolve: Resolver = addresses
    proxies: Proxies = NONE
    _seen: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def allow(self, url: str) -> None:
        """Return where the address may be asked.

        Raises UntrustedSourceError with the reason.
        """
        parts = _split(url)
        host, place = _host(parts), _place(parts)
        own = host in self.own or place in self.own
        if parts.username or parts.password:
            raise _refused(url, "it holds a user name or password", hint=_NO_LOGIN)
        if parts.scheme != "https" and place not in self.plain:
            raise _refused(url, "only https is trusted", f"http://{place}")
        if own:
            return
        if parts.port not in (None, 443):
            raise _refused(url, f"port {parts.port} is not that of its source", place)
        if host not in HOSTS and not STORAGE.fullmatch(host):
            raise _refused(url, f"{host} is not a known source of models", place, host=host)
        self._no_private(url, host)

    def also(self, url: str) -> Trust:
        """The same trust, and an address's host besides: for an address that a person's own setting leads to."""
        parts = _split(url)
        plain = {_place(parts)} if parts.scheme == "http" else set()
        return replace(self, own=self.own | {_place(parts)}, plain=self.plain | plain)

    def token_for(self, place: str) -> str | None:
        """The token that belongs to a host ("huggingface.co", or "host:port" where a port is named)."""
        return self.tokens.get(place.lower().removesuffix(":443"))

    def _no_private(self, url: str, host: str) -> None:
        if self.proxies.of(url) is not None:  # the proxy looks the name up, and connects where it may
            return
        if time.monotonic() - self._seen.get(host, -_REMEMBERED) < _REMEMBERED:
            return
        found = tuple(self.resolve(host))
        for address in found:
            if not is_public(address):
                raise _refused(url, f"{host} leads into a private network ({address})", host)
        if found:  # a name that nobody knows yet may lead anywhere later
            self._seen[host] = time.monotonic()


def parse_hosts(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """(hosts, those of them that may be asked by plain http) of the setting `model_hosts`.

    Raises UsageError for what is no host.
    """
    own, plain = set(), set()
    for item in filter(None, (part.strip().lower().rstrip("/") for part in text.split(","))):
        scheme, _, place = item.rpartition("://")
        if scheme not in ("", "http", "https") or not re.fullmatch(
            r"[a-z0-9._-]+(:\d{1,5})?|\[[0-9a-f:]+\](:\d{1,5})?", place
        ):
            words = f"The setting 'model_hosts' is wrong: {item[:80]!r} is no host."
            raise UsageError(words, hint="It looks like 'mirror.example, http://127.0.0.1:8080'.")
        own.add(place)
        if scheme == "http":
            plain.add(place)
    return frozenset(own), frozenset(plain)


def checked_token(token: str, whose: str) -> str:
    """A token as it is sent, without the blanks around it.

    Raises UsageError for one that no header can hold.
    """
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        words = f"The token for {whose} holds a blank, a line break or a character that no token has."
        raise UsageError(words, hint="Set the variable, or the file that it names, anew.")
    return token


def place_of(url: str) -> str:
    """Host, and port where it is not the scheme's own; what a token belongs to."""
    return _place(_split(url))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused(url, "it is no address") from error
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise _refused(url, "it is no web address")
    return parts


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower().rstrip(".")


def _place(parts: SplitResult) -> str:
    port = parts.port if parts.port != {"https": 443, "http": 80}[parts.scheme] else None
    host = f"[{_host(parts)}]" if ":" in _host(parts) else _host(parts)
    return f"{host}:{port}" if port else host


def _refused(
    url: str, why: str, allowing: str = "", hint: str = "Check the address.", **facts: str
) -> UntrustedSourceError:
    """The error; `allowing` is what the setting `model_hosts` must name for the address to be asked."""
    shown = re.sub(r"//[^/@]*@", "//", url.partition("?")[0])[:200]
    if allowing:
        hint = f"If you trust it, allow it with COMFYOPS_MODEL_HOSTS={allowing[:200]}"
    return UntrustedSourceError(f"{shown} is not asked for a model: {why}.", hint=hint, url=shown, **facts)
