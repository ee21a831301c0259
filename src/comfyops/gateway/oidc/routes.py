"""GET /auth/oidc/login and /auth/oidc/callback."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from comfyops.auth.authenticator import Authenticator, SessionToken
from comfyops.auth.identities import Identity
from comfyops.config import OidcSettings
from comfyops.errors import AuthError
from comfyops.gateway import cookies, credentials, pages
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import Record
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.oidc import claims
from comfyops.gateway.oidc.flow import LIFETIME, Attempt, authorization_url
from comfyops.gateway.oidc.provider import Provider
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import GatewaySettings

_COOKIE = "comfyops_oidc"
_PATH = "/auth/oidc"
_LONGEST_CODE = 4096

LetIn = Callable[[Exchange, SessionToken, str, list[tuple[bytes, bytes]]], Awaitable[None]]


class Oidc:
    """Sign-in by one provider. `let_in` answers with the session's cookie and sends the browser on."""

    def __init__(
        self,
        oidc: OidcSettings,
        settings: GatewaySettings,
        authenticator: Authenticator,
        record: Record,
        let_in: LetIn,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._oidc = oidc
        self._proxies = settings.proxies
        self._authenticator = authenticator
        self._record = record
        self._let_in = let_in
        self._now = now
        self._provider = Provider(oidc, now=now)
        self.routes = {("GET", "/auth/oidc/login"): self._begin, ("GET", "/auth/oidc/callback"): self._end}

    async def close(self) -> None:
        """Close every connection to the provider."""
        await self._provider.close()

    async def sign_out_url(self) -> str | None:
        """Where the browser can sign out at the provider too; None where it offers nothing of the kind."""
        try:
            found = (await self._provider.description()).get("end_session_endpoint")
        except RefusedError:
            return None
        return found if isinstance(found, str) else None

    async def _begin(self, exchange: Exchange, shown: Credential) -> None:
        goal = pages.safe_goal(parse_qs(exchange.query.decode("latin-1")).get("next", ["/"])[0])
        attempt = Attempt.new(goal, self._now())
        try:
            endpoint = (await self._provider.description())["authorization_endpoint"]
        except RefusedError as refused:
            await self._fail(exchange, refused, goal)
            return
        url = authorization_url(endpoint, self._oidc.client_id, self._redirect(exchange), self._oidc.scopes, attempt)
        headers = [(b"location", url.encode()), (b"cache-control", b"no-store")]
        await exchange.answer(303, b"", [*headers, self._cookie(exchange, attempt.cookie, LIFETIME)])

    async def _end(self, exchange: Exchange, shown: Credential) -> None:
        """Whoever comes back with the right state, in the browser that left, is signed in."""
        attempt = Attempt.parse(credentials.cookie(exchange.all(b"cookie"), _COOKIE), self._now())
        try:
            if attempt is None:
                raise RefusedError(400, "oidc_state", "This sign-in was not begun in this browser, or too long ago.")
            code = self._code(exchange, attempt)
            session = await self._admit(exchange, await self._provider.claims(code, attempt, self._redirect(exchange)))
        except AuthError as error:
            refused = RefusedError(403, error.code, error.message)
            await self._fail(exchange, refused, attempt.goal if attempt else "/")
        except RefusedError as refused:
            await self._fail(exchange, refused, attempt.goal if attempt else "/")
        else:
            assert attempt is not None
            await self._let_in(exchange, session, attempt.goal, [self._cookie(exchange, "", 0)])

    def _code(self, exchange: Exchange, attempt: Attempt) -> str:
        """The code that came back. Raises RefusedError where state or issuer are not those of this sign-in."""
        query = parse_qs(exchange.query.decode("latin-1"), keep_blank_values=True)
        if any(len(values) > 1 for values in query.values()):
            raise RefusedError(400, "oidc_state", "The provider's answer says a thing twice.")
        given = {name: values[0] for name, values in query.items()}
        if not hmac.compare_digest(given.get("state", "").encode(), attempt.state.encode()):
            raise RefusedError(400, "oidc_state", "This sign-in was not begun in this browser, or too long ago.")
        if given.get("iss", self._oidc.issuer) != self._oidc.issuer:
            raise RefusedError(400, "oidc_state", "The answer comes from another provider.")
        code = given.get("code", "")
        if "error" in given or not 0 < len(code) <= _LONGEST_CODE:
            raise RefusedError(403, "oidc_refused", "The provider did not let you in.")
        return code

    async def _admit(self, exchange: Exchange, said: dict[str, object]) -> SessionToken:
        """A session for whom the claims are of. Raises AuthError and RefusedError."""
        who = Identity(self._oidc.issuer, str(said["sub"]))
        role = claims.role_of(said, self._oidc.role_claim, self._oidc.roles)
        if role is None:
            await self._authenticator.dismiss(who)
            raise RefusedError(403, "oidc_no_role", "You are known to the provider, but may do nothing here.")
        name = claims.name_of(said, self._oidc.name_claim)
        session, made = await self._authenticator.admit(who, name, role)
        if made:
            self._record(
                "auth.user.create",
                session.principal,
                address=exchange.address,
                target=name,
                allowed=True,
                reason="first sign-in by the provider",
            )
        return session

    async def _fail(self, exchange: Exchange, refused: RefusedError, goal: str) -> None:
        self._record("sign_in", None, address=exchange.address, target="oidc", allowed=False, reason=refused.code)
        page = pages.sign_in(goal, refused.message, self._oidc.label)
        await exchange.answer(refused.status, page, [*pages.HEADERS, self._cookie(exchange, "", 0)])

    def _redirect(self, exchange: Exchange) -> str:
        if self._oidc.redirect_url:
            return self._oidc.redirect_url
        return f"{cookies.scheme(exchange, self._proxies)}://{exchange.host}/auth/oidc/callback"

    def _cookie(self, exchange: Exchange, value: str, seconds: int) -> tuple[bytes, bytes]:
        return cookies.cookie(exchange, self._proxies, _COOKIE, value, seconds, _PATH)
