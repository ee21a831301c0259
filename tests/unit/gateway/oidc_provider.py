"""A small OpenID provider that signs with real keys, and lies where a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwk, jwt

CLIENT, SECRET = "the-gateway", "a secret: of the/gateway"


def new_key() -> jwk.RSAKey:
    """A key of its own id."""
    return jwk.RSAKey.generate_key(2048, auto_kid=True)


@dataclass
class Provider:
    """What it says, and of whom; `twist` changes the claims of a token before it is signed."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "1", "preferred_username": "ann", "groups": ["art"]})
    more: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=new_key)
    published: list[Any] = field(default_factory=list)
    algorithm: str = "RS256"
    pair: str = "the-gateway:a+secret%3A+of+the%2Fgateway"  # of HTTP Basic; "" where the secret comes in the form
    refusal: tuple[int, str] | None = None
    twist: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    description: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    redirected: dict[str, str] = field(default_factory=dict)

    async def describe(self, request: web.Request) -> web.Response:
        """GET /.well-known/openid-configuration"""
        self.asked.append("description")
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
        own = {name: f"{self.url}/{path}" for name, path in names.items()}
        end = {"jwks_uri": f"{self.url}/keys", "end_session_endpoint": f"{self.url}/end"}
        return web.json_response({"issuer": self.url, **own, **end, **self.description})

    async def keys(self, request: web.Request) -> web.Response:
        """GET /keys"""
        self.asked.append("keys")
        odd = [{"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "odd"}, {"kty": "RSA", "kid": "broken"}, "nothing"]
        return web.json_response(
            {"keys": [*odd, *(key.as_dict(private=False) for key in self.published or [self.key])]}
        )

    async def authorize(self, request: web.Request) -> web.Response:
        """GET /authorize: whoever comes is the person, and agrees."""
        query = dict(request.query)
        self.redirected = query
        assert query["response_type"] == "code" and query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.url}
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(back)}")

    async def token(self, request: web.Request) -> web.Response:
        """POST /token: once per code, for who knows the verifier and the secret."""
        form = await request.post()
        asked = self.codes.pop(str(form["code"]), None)
        pair = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if self.refusal is not None:
            return web.json_response({"error": self.refusal[1]}, status=self.refusal[0])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        if (
            asked is None
            or (pair != self.pair if self.pair else form.get("client_secret") != SECRET or pair)
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"id_token": self.signed(asked["nonce"]), "access_token": "access", "token_type": "b"})

    def signed(self, nonce: str) -> str:
        """An id_token about the person."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, self.twist(claims), self.key, algorithms=[self.algorithm])

    async def userinfo(self, request: web.Request) -> web.Response:
        """GET /userinfo"""
        assert request.headers["Authorization"] == "Bearer access"
        return web.json_response({"sub": self.person["sub"], **self.more})


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """A provider on a free port."""
    made = Provider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.describe)
    app.router.add_get("/keys", made.keys)
    app.router.add_get("/authorize", made.authorize)
    app.router.add_post("/token", made.token)
    app.router.add_get("/userinfo", made.userinfo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
