"""Routes that the gateway answers by itself: signing in and out, its health, and the question of other proxies."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs

from comfyops.auth.authenticator import COOKIE, Authenticator, SessionToken
from comfyops.errors import AuthError, TooManyAttemptsError
from comfyops.gateway import cookies, pages
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import SAFE, Record, too_many
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.forward_auth import verify
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.server import Server
from comfyops.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from comfyops.config import OidcSettings
    from comfyops.gateway.oidc.routes import Oidc

T = TypeVar("T")

Handler = Callable[[Exchange, Credential], Awaitable[None]]

_FORM = 16 * 1024  # bytes of a sign-in


class Local:
    """The gateway's own routes."""

    def __init__(
        self, settings: GatewaySettings, authenticator: Authenticator, record: Record, servers: Sequence[Server]
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._record = record
        self._servers = servers
        self._oidc = self._with_oidc(settings.oidc) if settings.oidc else None
        self.routes: dict[tuple[str, str], Handler] = {
            ("GET", "/health"): self._health,
            ("HEAD", "/health"): self._health,
            ("GET", "/auth/login"): self._page,
            ("HEAD", "/auth/login"): self._page,
            ("POST", "/auth/login"): self._sign_in,
            ("POST", "/auth/setup"): self._set_up,
            ("POST", "/auth/password"): self._password,
            ("POST", "/auth/logout"): self._sign_out,
            ("GET", "/auth/session"): self._session,
            ("GET", "/auth/verify"): self._verify,
            **(self._oidc.routes if self._oidc else {}),
        }

    async def close(self) -> None:
        """Let go of what it holds open."""
        if self._oidc is not None:
            await self._oidc.close()

    def _with_oidc(self, oidc: OidcSettings) -> Oidc:
        from comfyops.gateway.oidc.routes import Oidc

        return Oidc(oidc, self._settings, self._authenticator, self._record, self._let_in)

    async def _health(self, exchange: Exchange, shown: Credential) -> None:
        """Whether at least one server works; which one and why is told to nobody in particular."""
        states = [server.state for server in self._servers]
        ready = "ok" in states
        status = "ok" if all(state == "ok" for state in states) else "degraded" if ready else "down"
        data: dict[str, object] = {"status": status, "backends": {state: states.count(state) for state in set(states)}}
        kept = [server.address.kept for server in self._servers if server.address.kept is not None]
        if kept:
            data["launched"] = [{"status": item.status, "restarts": item.restarts} for item in kept]
        await exchange.json(200 if ready else 503, data)

    async def _page(self, exchange: Exchange, shown: Credential) -> None:
        query = parse_qs(exchange.query.decode("latin-1"), keep_blank_values=True)
        goal = query.get("next", ["/"])[0]
        page = pages.set_up() if "setup" in query else pages.sign_in(goal, provider=self._settings.provider)
        await exchange.answer(200, page, pages.HEADERS)

    async def _sign_in(self, exchange: Exchange, shown: Credential) -> None:
        """From the page's form, or JSON {"name", "password"}."""
        fields, is_json = await self._fields(exchange)
        try:
            name, password = fields.get("name", ""), fields.get("password", "")
            session = await _judged(self._authenticator.login(name, password, exchange.address))
        except RefusedError as refused:
            whom = str(getattr(refused.__cause__, "facts", {}).get("name", ""))
            self._note("sign_in", exchange, allowed=False, code=refused.code, target=whom)
            if is_json:
                raise
            page = pages.sign_in(fields.get("next", "/"), refused.message, self._settings.provider)
            await exchange.answer(refused.status, page, pages.HEADERS)
            return
        await self._let_in(exchange, session, None if is_json else fields.get("next", "/"))

    async def _set_up(self, exchange: Exchange, shown: Credential) -> None:
        """The first administrator, by the one-time secret of the command line: {"secret", "name", "password"}."""
        fields, is_json = await self._fields(exchange)
        secret, name, password = (fields.get(key, "") for key in ("secret", "name", "password"))
        try:
            session = await _judged(self._authenticator.setup(secret, name, password, exchange.address))
        except RefusedError as refused:
            self._note("set_up", exchange, allowed=False, code=refused.code)
            if is_json:
                raise
            await exchange.answer(refused.status, pages.set_up(refused.message), pages.HEADERS)
            return
        await self._let_in(exchange, session, None if is_json else "/")

    async def _password(self, exchange: Exchange, shown: Credential) -> None:
        """Another password for oneself: {"old", "new"}."""
        fields, _ = await self._fields(exchange)
        principal = exchange.principal
        assert principal is not None
        if principal.kind != "user":
            raise RefusedError(403, "no_user", "Only somebody who has signed in has a password.")
        old, new = fields.get("old", ""), fields.get("new", "")
        await _judged(self._authenticator.change_password(principal.name, old, new, exchange.address))
        self._note("password", exchange, allowed=True, code="changed")
        await exchange.json(200, {"changed": True})

    async def _let_in(
        self,
        exchange: Exchange,
        session: SessionToken,
        goal: str | None,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        exchange.principal = session.principal
        self._note("sign_in", exchange, allowed=True, code="signed_in")
        seconds = max(0, int(session.expires_at - time.time()))
        cookie = [self._cookie(exchange, session.value, seconds), *more]
        if goal is None:
            await exchange.json(200, {"signed_in": True}, cookie)
            return
        place_ = (b"location", pages.safe_goal(goal).encode())
        await exchange.answer(303, b"", [place_, (b"cache-control", b"no-store"), *cookie])

    async def _fields(self, exchange: Exchange) -> tuple[dict[str, str], bool]:
        body = await exchange.body(_FORM)
        if exchange.first(b"content-type").startswith(b"application/json"):
            return _json_fields(body), True
        return _form_fields(body), False

    async def _sign_out(self, exchange: Exchange, shown: Credential) -> None:
        if shown.kind == "session":
            await self._authenticator.logout(shown.value)
        self._note("sign_out", exchange, allowed=True, code="signed_out")
        data: dict[str, object] = {"signed_in": False}
        if self._oidc is not None:
            data["provider_sign_out"] = await self._oidc.sign_out_url()
        await exchange.json(200, data, [self._cookie(exchange, "", 0)])

    async def _session(self, exchange: Exchange, shown: Credential) -> None:
        principal = exchange.principal
        assert principal is not None
        data = {
            "name": principal.name,
            "role": principal.role,
            "scopes": sorted(principal.scopes),
            "kind": principal.kind,
        }
        await exchange.json(200, data)

    async def _verify(self, exchange: Exchange, shown: Credential) -> None:
        method, path = await verify(exchange, shown, self._settings.proxies)
        if method not in SAFE:
            self._note("verify", exchange, allowed=True, code="", target=f"{method} {path[:200]}")

    def _cookie(self, exchange: Exchange, value: str, seconds: int) -> tuple[bytes, bytes]:
        return cookies.cookie(exchange, self._settings.proxies, COOKIE, value, seconds)

    def _note(self, action: str, exchange: Exchange, *, allowed: bool, code: str, target: str = "") -> None:
        who, address = exchange.principal, exchange.address
        self._record(action, who, address=address, target=target, allowed=allowed, reason=code)


async def _judged(work: Awaitable[T]) -> T:
    """The outcome of a sign-in, its errors as refusals."""
    try:
        return await work
    except TooManyAttemptsError as error:
        raise too_many(error) from error
    except AuthError as error:
        status = 401 if error.code == "credential_wrong" else 400
        raise RefusedError(status, error.code, error.message) from error


def _json_fields(body: bytes) -> dict[str, str]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise RefusedError(400, "invalid_body", "A sign-in is a JSON object with name and password.")
    return data


def _form_fields(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RefusedError(400, "invalid_body", "The form is broken.") from None
    return {name: values[0] for name, values in fields.items()}
