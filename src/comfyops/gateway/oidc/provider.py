"""The provider, over the network: its description of itself, its keys, and the tokens it gives for a code."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp

from comfyops.config import OidcSettings
from comfyops.errors import WrongCredentialError
from comfyops.gateway.oidc import claims
from comfyops.gateway.oidc.claims import Expected, UnknownKeyError
from comfyops.gateway.oidc.flow import Attempt
from comfyops.gateway.refusal import RefusedError

_BODY = 1024 * 1024  # bytes of an answer
_PATIENCE = aiohttp.ClientTimeout(total=15)
_FRESH = 3600.0  # seconds for which description and keys are believed
_AT_LEAST = 5.0  # seconds between two askings for keys because one was not among them


class Provider:
    """One provider; `clock` gives seconds for waiting, `now` seconds since the epoch."""

    def __init__(
        self,
        settings: OidcSettings,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._asking = asyncio.Lock()
        self._description: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, Mapping[str, Any]] | None = None

    async def description(self) -> Mapping[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery). Raises RefusedError."""
        async with self._asking:
            if self._description is None or self._clock() - self._description[0] > _FRESH:
                url = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
                found = await self._ask("GET", url)
                if found.get("issuer") != self._settings.issuer:
                    raise _unusable("it names itself otherwise than COMFYOPS_OIDC_ISSUER")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _check_endpoint(found.get(name), name, self._settings.issuer)
                self._description = self._clock(), found
            return self._description[1]

    async def claims(self, code: str, attempt: Attempt, redirect: str) -> dict[str, Any]:
        """What the provider says of who brought this code. Raises RefusedError and WrongCredentialError."""
        tokens = await self._exchange(code, attempt, redirect)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or not isinstance(access, str):
            raise _unusable("its answer holds no id_token")
        expected = Expected(self._settings.issuer, self._settings.client_id, attempt.nonce, self._now())
        found = await self._verified(token, expected, access)
        return {**await self._more(found, access), **found}

    async def close(self) -> None:
        """Close every connection to it."""
        if self._session is not None:
            await self._session.close()

    async def _verified(self, token: str, expected: Expected, access: str) -> dict[str, Any]:
        """The claims of a token; where its key is unknown, by keys that are asked for anew: providers change them."""
        for oldest in (_FRESH, _AT_LEAST):
            keys = await self._known_keys(oldest)
            with contextlib.suppress(UnknownKeyError):
                return await asyncio.to_thread(claims.verified, token, keys, expected, access)
        raise WrongCredentialError("The provider's token is not signed by a key of the provider.")

    async def _known_keys(self, oldest: float) -> Mapping[str, Any]:
        """The provider's keys, at most so many seconds old."""
        url = (await self.description())["jwks_uri"]
        async with self._asking:
            if self._keys is None or self._clock() - self._keys[0] > oldest:
                self._keys = self._clock(), await self._ask("GET", url)
            return self._keys[1]

    async def _exchange(self, code: str, attempt: Attempt, redirect: str) -> Mapping[str, Any]:
        description = await self.description()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "client_id": self._settings.client_id,
            "code_verifier": attempt.verifier,
        }
        methods = description.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return await self._ask("POST", description["token_endpoint"], **self._as_client(form, methods))

    def _as_client(self, form: dict[str, str], methods: Container[str]) -> dict[str, Any]:
        """What is asked, with what shows that we are this client.

        In HTTP Basic both parts are quoted (RFC 6749, section 2.3.1); some providers do not undo it, so what changes by
        that goes into the form where they take it there.
        """
        client, secret = self._settings.client_id, self._settings.client_secret
        if secret is None:
            return {"data": form}
        plain = f"{client}:{secret.get_secret_value()}"
        pair = f"{quote_plus(client)}:{quote_plus(secret.get_secret_value())}"
        if "client_secret_basic" in methods and (pair == plain or "client_secret_post" not in methods):
            return {"data": form, "headers": {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}}
        return {"data": {**form, "client_secret": secret.get_secret_value()}}

    async def _more(self, found: Mapping[str, Any], access: str) -> Mapping[str, Any]:
        """What the provider tells only where it is asked with the access token, such as groups."""
        url = (await self.description()).get("userinfo_endpoint")
        wanted = self._settings.role_claim.partition(".")[0]
        if url is None or (wanted in found and self._settings.name_claim in found):
            return {}
        _check_endpoint(url, "userinfo_endpoint", self._settings.issuer)
        more = await self._ask("GET", url, headers={"Authorization": f"Bearer {access}"})
        if more.get("sub") != found["sub"]:
            raise WrongCredentialError("The provider tells of somebody else than it vouched for.")
        return more

    async def _ask(self, method: str, url: str, **options: Any) -> Mapping[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_PATIENCE, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as answer:
                body = await _bounded(answer)
                if method == "POST" and answer.status in (400, 401, 403):
                    raise _refusal(body)
                if answer.status != 200:
                    raise _unusable(f"it answers with status {answer.status}")
                found = json.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unusable("it does not answer") from error
        except (ValueError, RecursionError) as error:
            raise _unusable("its answer is not JSON") from error
        if not isinstance(found, dict):
            raise _unusable("its answer is no JSON object")
        return found


def _refusal(body: bytes) -> RefusedError | WrongCredentialError:
    """What a provider means that gives no tokens: providers differ in the status, `error` says it (RFC 6749, 5.2)."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("error") in ("invalid_client", "unauthorized_client"):
        return _unusable("it does not take this gateway's client ID and secret")
    return WrongCredentialError("The provider does not take the code back; sign in again.")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in answer.content.iter_chunked(64 * 1024):
        body += part
        if len(body) > _BODY:
            raise _unusable("its answer is too long")
    return body


def _check_endpoint(url: object, name: str, issuer: str) -> None:
    """Where the issuer is reached by TLS, nothing of it may be reached without."""
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    if scheme != "https" and not (scheme == "http" and urlsplit(issuer).scheme == "http"):
        raise _unusable(f"its {name} is no address")


def _unusable(why: str) -> RefusedError:
    return RefusedError(502, "oidc_provider", f"The provider of sign-ins cannot be used: {why}.")
