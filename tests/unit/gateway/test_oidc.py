"""Sign-in by an OpenID provider, against one that signs with real keys and lies in every way we know of."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc import jwk
from pydantic import SecretStr

from comfyops import config
from comfyops.auth.authenticator import COOKIE
from comfyops.config import OidcSettings
from comfyops.errors import UsageError, WrongCredentialError
from comfyops.gateway.oidc import claims
from comfyops.gateway.oidc.flow import LIFETIME, Attempt, challenge
from comfyops.gateway.oidc.provider import Provider as Asked
from comfyops.gateway.oidc.ready import check_oidc
from tests.unit.gateway.house import House, house
from tests.unit.gateway.oidc_provider import CLIENT, SECRET, Provider, new_key, provider

ROLES = (("boss", "administrator"), ("art", "artist"), ("look", "viewer"))


def settings(issuer: str, **changes: Any) -> OidcSettings:
    given: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT,
        "client_secret": SecretStr(SECRET),
        "scopes": "openid profile email",
        "label": "Our House",
        "name_claim": "preferred_username",
        "role_claim": "groups",
        "roles": ROLES,
        "redirect_url": "",
    }
    return OidcSettings(**(given | changes))


@asynccontextmanager
async def both(folder: Path, **changes: Any) -> AsyncIterator[tuple[House, Provider]]:
    """A gateway and its provider."""
    async with provider() as other, house(folder, oidc=settings(other.url, **changes)) as home:
        yield home, other


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def sign_in(home: House, session: aiohttp.ClientSession, goal: str = "/auth/session") -> tuple[int, str]:
    """Go the whole way, as a browser does."""
    async with session.get(f"{home.url}/auth/oidc/login", params={"next": goal}) as answer:
        return answer.status, await answer.text()


def held(session: aiohttp.ClientSession) -> str:
    """What the browser holds while it is away."""
    return next(cookie.value for cookie in session.cookie_jar if cookie.key == "comfyops_oidc")


async def test_somebody_the_provider_vouches_for_is_signed_in_with_the_mapped_role(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        async with session.get(f"{home.url}/auth/login") as page:
            assert "Sign in with Our House" in await page.text()
        status, text = await sign_in(home, session)
        assert status == 200 and '"name": "ann"' in text and '"role": "artist"' in text and '"kind": "user"' in text
        assert other.redirected["redirect_uri"] == f"{home.url}/auth/oidc/callback"
        assert len(other.redirected["state"]) >= 43 and len(other.redirected["nonce"]) >= 43
        actions = [(line.action, line.reason) for line in home.ledger.lines]
        assert ("auth.user.create", "first sign-in by the provider") in actions and ("sign_in", "signed_in") in actions
        (user,) = home.store.users.all()
        other.person |= {"preferred_username": "anna", "groups": ["nothing", "boss"]}
        assert '"role": "administrator"' in (await sign_in(home, session))[1]
        assert [item.id for item in home.store.users.all()] == [user.id], "the subject says who it is, not the name"
        async with session.post(f"{home.url}/auth/logout", headers={"Origin": home.url}) as answer:
            assert (await answer.json())["provider_sign_out"] == f"{other.url}/end"
        assert (await session.get(f"{home.url}/auth/session")).status == 401


async def test_nobody_can_sign_in_to_such_an_account_by_a_password(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, _), browser() as session:
        await sign_in(home, session)
        for password in ("", "nobody", "four words of nothing"):
            body = {"name": "ann", "password": password}
            assert (await home.ask("POST", "/auth/login", json=body))[0] == 401


async def test_who_has_no_mapped_role_is_not_let_in_and_gets_no_account(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        groups: Any
        for groups in ([], ["other"], "other", None, {"boss": True}, 5, [["art"]]):
            other.person["groups"] = groups
            status, text = await sign_in(home, session)
            assert status == 403 and "may do nothing here" in text and "Traceback" not in text, groups
        assert home.store.users.all() == () and (await session.get(f"{home.url}/auth/session")).status == 401


async def test_who_loses_the_role_loses_the_sessions(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session, browser() as elsewhere:
        assert (await sign_in(home, elsewhere))[0] == 200
        other.person["groups"] = []
        assert (await sign_in(home, session))[0] == 403
        assert home.store.sessions.all(home.store.clock(), 1e9) == ()


async def test_a_disabled_account_stays_out(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, _), browser() as session:
        assert (await sign_in(home, session))[0] == 200
        home.store.users.disable("ann", home.store.clock())
        status, text = await sign_in(home, session)
        assert status == 403 and "disabled" in text


async def test_an_account_of_the_same_name_is_never_taken_over(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, _), browser() as session:
        home.user("Ann", "four words of nothing", "administrator")
        status, text = await sign_in(home, session)
        assert status == 403 and "No account could be made" in text
        assert (await session.get(f"{home.url}/auth/session")).status == 401


def _changed(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda claims: {name: value for name, value in {**claims, **values}.items() if value is not None}


NOW = time.time()


LIES = (
    {"iss": "https://evil.example"},
    {"iss": None},
    {"aud": "another"},
    {"aud": None},
    {"aud": [CLIENT, "another"]},
    {"aud": [CLIENT, "another"], "azp": "another"},
    {"exp": int(NOW) - 3600},
    {"exp": None},
    {"exp": int(NOW) + 10**9},
    {"exp": float("1e308")},
    {"iat": int(NOW) + 7200},
    {"iat": None},
    {"iat": "now"},
    {"nbf": int(NOW) + 7200},
    {"nonce": "of another sign-in"},
    {"nonce": None},
    {"sub": None},
    {"sub": 5},
    {"sub": ""},
    {"at_hash": "AAAA"},
    {"preferred_username": "../../etc", "email": "no name at all"},
    {"preferred_username": None},
)


async def test_a_token_that_was_not_made_for_this_is_refused(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        for lie in LIES:
            other.twist = _changed(**lie)
            status, text = await sign_in(home, session)
            assert status == 403 and "Traceback" not in text and home.store.users.all() == (), lie
            assert not [cookie for cookie in session.cookie_jar if cookie.key == COOKIE]


async def test_a_token_of_another_key_or_algorithm_is_refused(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        real = other.key
        other.published = [real]
        other.key = new_key()
        assert (await sign_in(home, session))[0] == 403
        known = base64.urlsafe_b64encode(SECRET.encode() * 2).rstrip(b"=").decode()
        other.key = jwk.OctKey.import_key({"kty": "oct", "k": known, "kid": real.kid})
        other.algorithm = "HS256"
        assert (await sign_in(home, session))[0] == 403, "who knows the gateway's secret is not the provider"
        other.key, other.algorithm = real, "RS256"
        assert (await sign_in(home, session))[0] == 200


def test_an_unsigned_token_is_refused() -> None:
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."
    expected = claims.Expected("https://house", CLIENT, "nonce", NOW)
    for bad in (token, token[:-1], "", ".", "a.b.c", "é", "x" * 100_000):
        with pytest.raises((WrongCredentialError, claims.UnknownKeyError)):
            claims.verified(bad, {"keys": []}, expected, "access")


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS512"])
async def test_other_signatures_that_only_the_provider_can_make_count(tmp_path: Path, algorithm: str) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        other.algorithm = algorithm
        if algorithm == "ES256":
            other.key = jwk.ECKey.generate_key("P-256", auto_kid=True)
        assert (await sign_in(home, session))[0] == 200


async def test_keys_that_the_provider_changes_are_asked_for_anew_but_not_at_every_request() -> None:
    clock = [0.0]
    async with provider() as other:
        asked = Asked(settings(other.url), clock=lambda: clock[0])
        attempt = Attempt.new("/", NOW)
        query = {"code_challenge": challenge(attempt.verifier), "redirect_uri": "r", "nonce": attempt.nonce}

        async def once() -> dict[str, Any]:
            other.codes["c"] = dict(query)
            return await asked.claims("c", attempt, "r")

        try:
            assert (await once())["sub"] == "1"
            assert (await once())["sub"] == "1" and other.asked == ["description", "keys"]
            other.key = new_key()
            with pytest.raises(WrongCredentialError):
                await once()
            assert other.asked == ["description", "keys"], "somebody who makes up keys makes us ask nobody"
            clock[0] += 10
            assert (await once())["sub"] == "1" and other.asked == ["description", "keys", "keys"]
        finally:
            await asked.close()


async def test_the_way_back_works_only_in_the_browser_that_left(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, _), browser() as hers, browser() as his:
        async with hers.get(f"{home.url}/auth/oidc/login", allow_redirects=False) as answer:
            away = answer.headers["Location"]
            flags = answer.headers["Set-Cookie"]
        assert "HttpOnly" in flags and "SameSite=Lax" in flags and "Path=/auth/oidc" in flags
        async with hers.get(away, allow_redirects=False) as answer:
            back = answer.headers["Location"]
        assert (await his.get(back)).status == 400, "a link that signs somebody in as somebody else"
        state = back.partition("state=")[2].partition("&")[0]
        for bad in (back.replace(state, "x" * 43), back.replace(f"&state={state}", ""), f"{back}&state={state}"):
            assert (await his.get(bad)).status == 400
        wrong = back.replace("iss=http", "iss=https")
        headers = {"Cookie": f"comfyops_oidc={held(hers)}"}
        assert (await home.ask("GET", wrong.removeprefix(home.url), headers=headers))[0] == 400
        assert (await home.ask("GET", back.removeprefix(home.url), headers=headers))[0] == 303
        assert (await home.ask("GET", back.removeprefix(home.url), headers=headers))[0] == 403, "a code counts once"


async def test_the_provider_may_refuse_and_may_be_broken(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        async with session.get(f"{home.url}/auth/oidc/login", allow_redirects=False):
            pass
        state = Attempt.parse(held(session), time.time())
        assert state is not None
        back = f"/auth/oidc/callback?error=access_denied&state={state.state}"
        async with session.get(home.url + back) as answer:
            assert answer.status == 403 and "did not let you in" in await answer.text()
    for broken in ({"issuer": "http://127.0.0.1:1"}, {"jwks_uri": None}, {"token_endpoint": "ftp://x"}):
        async with both(tmp_path) as (home, other), browser() as session:
            other.description = broken
            status, text = await sign_in(home, session)
            assert status == 502 and "cannot be used" in text and "Traceback" not in text
    async with house(tmp_path, oidc=settings("http://127.0.0.1:9")) as home, browser() as session:
        assert (await sign_in(home, session))[0] == 502
        assert (await home.ask("POST", "/auth/logout", home.token("t"), json={}))[1]["provider_sign_out"] is None


async def test_groups_may_come_from_the_userinfo_of_the_same_subject(tmp_path: Path) -> None:
    async with both(tmp_path, role_claim="realm_access.roles") as (home, other), browser() as session:
        del other.person["groups"]
        other.more = {"realm_access": {"roles": ["look"]}}
        assert '"role": "viewer"' in (await sign_in(home, session))[1]
        other.more |= {"sub": "2"}
        status, text = await sign_in(home, session)
        assert status == 403 and "somebody else" in text


async def test_the_way_leads_nowhere_else(tmp_path: Path) -> None:
    async with both(tmp_path) as (home, _), browser() as session:
        for goal in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
            place = f"{home.url}/auth/oidc/login"
            for step in range(3):
                async with session.get(place, params={} if step else {"next": goal}, allow_redirects=False) as answer:
                    place = answer.headers["Location"]
            assert (answer.status, place) == (303, "/")


async def test_without_a_provider_there_is_no_such_route(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert (await home.ask("GET", "/auth/oidc/login"))[0] == 404
        assert "Sign in with" not in (await home.ask("GET", "/auth/login"))[1]


def test_an_attempt_is_bound_to_its_time_goal_and_secret() -> None:
    attempt = Attempt.new("/a?b=c", 1000.0)
    assert Attempt.parse(attempt.cookie, 1000.0 + LIFETIME) == attempt
    assert Attempt.parse(attempt.cookie, 1001.0 + LIFETIME) is None and Attempt.parse(attempt.cookie, 900.0) is None
    assert len({attempt.state, attempt.nonce, attempt.verifier, attempt.secret}) == 4
    assert Attempt(attempt.secret, attempt.began, "/other").state != attempt.state
    assert attempt.secret not in repr(attempt)
    late = "x" * 43 + "." + "9" * 400 + "."
    for bad in ("", ".", "..", "x" * 43 + ".1000.a", "x" * 43 + ".-5.", late, attempt.cookie[1:]):
        assert Attempt.parse(bad, 1000.0) is None


def test_the_challenge_is_the_one_of_the_standard() -> None:
    """The example of RFC 7636, appendix B."""
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_settings_of_the_provider_are_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load().oidc is None
    monkeypatch.setenv("COMFYOPS_OIDC_ISSUER", "https://house.example/")
    for name, value in (("CLIENT_ID", "x"), ("ROLE_MAP", "cn=art,ou=x=artist, boss = administrator")):
        with pytest.raises(UsageError, match="needed"):
            _ = config.load().oidc
        monkeypatch.setenv(f"COMFYOPS_OIDC_{name}", value)
    monkeypatch.setenv("COMFYOPS_OIDC_ROLE_MAP", "a=b=artist,boss = administrator")
    found = config.load().oidc
    assert found is not None and found.roles == (("a=b", "artist"), ("boss", "administrator"))
    monkeypatch.setenv("COMFYOPS_OIDC_CLIENT_SECRET", "hidden")
    assert "hidden" not in repr(config.load().oidc)
    for name, value in (("ROLE_MAP", "artist"), ("ISSUER", "http://house.example"), ("ISSUER", "house")):
        with monkeypatch.context() as other:
            other.setenv(f"COMFYOPS_OIDC_{name}", value)
            with pytest.raises(UsageError):
                _ = config.load().oidc


async def test_roles_that_there_are_not_are_told_at_the_start(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        check_oidc(settings("https://house.example"), home.store)
        with pytest.raises(UsageError, match="painter"):
            check_oidc(settings("https://house.example", roles=(("x", "painter"),)), home.store)


@pytest.mark.parametrize(
    ("methods", "secret", "pair"),
    [
        (["client_secret_basic", "client_secret_post"], SECRET, ""),
        (["client_secret_basic"], SECRET, "the-gateway:a+secret%3A+of+the%2Fgateway"),
        (["client_secret_post"], SECRET, ""),
        (["client_secret_basic", "client_secret_post"], "plain-secret_1.2", "the-gateway:plain-secret_1.2"),
    ],
)
async def test_the_secret_is_shown_so_that_providers_read_it_alike(
    tmp_path: Path, methods: list[str], secret: str, pair: str
) -> None:
    """Some do not undo the quoting of HTTP Basic: what it would change goes into the form where they take it there."""
    async with both(tmp_path, client_secret=SecretStr(secret)) as (home, other), browser() as session:
        other.description, other.pair = {"token_endpoint_auth_methods_supported": methods}, pair
        assert (await sign_in(home, session))[0] == 200


@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        ((403, "unauthorized_client"), 502, "client ID and secret"),
        ((401, "invalid_client"), 502, "client ID and secret"),
        ((400, "invalid_client"), 502, "client ID and secret"),
        ((403, "invalid_code"), 403, "sign in again"),
        ((400, "invalid_grant"), 403, "sign in again"),
        ((500, "server_error"), 502, "status 500"),
    ],
)
async def test_what_a_provider_refuses_is_told_by_its_word_not_by_its_status(
    tmp_path: Path, refusal: tuple[int, str], status: int, words: str
) -> None:
    async with both(tmp_path) as (home, other), browser() as session:
        other.refusal = refusal
        found, page = await sign_in(home, session)
        assert found == status and words in page
