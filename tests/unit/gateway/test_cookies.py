"""The session's cookie among others: what neighbours set beside it neither hides nor replaces it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from comfyops.auth.authenticator import COOKIE
from comfyops.gateway.credentials import NONE, Credential, find
from tests.unit.gateway.house import house

_PASSWORD = "four words of nothing"
_SESSION = Credential("session", "abc")


def _found(*cookies: bytes) -> Credential:
    return find([], list(cookies), [], query=False)


@pytest.mark.parametrize(
    "beside", [b'x={"a":1}', b"a b=c", b"flag", b"n\xe9=1", b"x@y=1", b"=1", b'a="x', b"a=1,2", b"=", b"", b"x=\x01"]
)
def test_odd_cookies_of_other_programs_sign_nobody_out(beside: bytes) -> None:
    assert _found(beside + b"; comfyops_session=abc") == _SESSION
    assert _found(b"comfyops_session=abc; " + beside) == _SESSION
    assert _found(beside, b"comfyops_session=abc") == _SESSION


def test_a_session_that_a_neighbour_set_beside_somebodys_own_is_not_taken() -> None:
    for others in (b"comfyops_session=evil; comfyops_session=abc", b"comfyops_session=abc; comfyops_session=evil"):
        assert _found(others) == NONE
    assert _found(b"comfyops_session=abc", b"comfyops_session=evil") == NONE
    assert _found(b"comfyops_session=abc; comfyops_session=abc") == _SESSION


def test_a_name_that_only_looks_like_the_sessions_is_another() -> None:
    for other in (b"xcomfyops_session=abc", b"Comfyops_Session=abc", b"a=comfyops_session=abc", b"comfyops_session"):
        assert _found(other) == NONE


async def test_an_odd_cookie_beside_the_session_keeps_nobody_out(tmp_path: Path) -> None:
    async with house(tmp_path) as home, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser:
        home.user("ann", _PASSWORD)
        async with browser.post(f"{home.url}/auth/login", json={"name": "ann", "password": _PASSWORD}) as answer:
            own = f"{COOKIE}={answer.cookies[COOKIE].value}"
        for beside, status in (('x={"a":1}', 200), (f"{COOKIE}=other", 401)):
            async with browser.get(f"{home.url}/queue", headers={"Cookie": f"{beside}; {own}"}) as answer:
                assert answer.status == status
