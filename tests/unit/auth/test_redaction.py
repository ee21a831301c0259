"""No secret reaches a log, whichever way it takes."""

from __future__ import annotations

import io
import json
import logging
from urllib.parse import quote

import pytest

from comfyops.auth import redaction
from comfyops.auth.credentials import TokenText, hashed

TOKEN = TokenText.new()
HASH = hashed("whatever it is", 4)
SECRETS = {
    "api token": (TOKEN.text, TOKEN.secret),
    "bcrypt hash": (HASH, HASH[7:]),
    "hugging face": ("hf_abcdefghijklmnopqrstuvwxyz", "hf_abcdefgh"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl", "eyJzdWIi"),
    "pem": ("-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBg\n-----END PRIVATE KEY-----", "MIIEvA"),
}
PLAIN = "Zq9-plain.Secret~42"
CARRIERS = [
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    "Authorization: Basic {}",
    "{{'Authorization': 'Bearer {}'}}",
    "[(b'authorization', b'Bearer {}')]",
    "[('X-Api-Key', '{}')]",
    "GET /ws?token={}&clientId=abc HTTP/1.1",
    "GET /ws?clientId=abc&TOKEN={}",
    "GET /x?next=%2Fws%3Ftoken%3D{}",
    "Cookie: a=b; comfyops_session={}; c=d",
    "Set-Cookie: comfyops_session={}; HttpOnly",
    "https://ann:{}@hub.example/x",
    '{{"name": "ann", "password": "{}"}}',
    "{{'name': 'ann', 'new_password': '{}'}}",
    "password={}",
    "password: {}",
    "COMFYUI_PASSWORD={}",
    "COMFYUI_API_TOKEN='{}'",
    "HF_TOKEN = {}",
    "client_secret={}&grant_type=x",
    "api_key={}",
    "SECRET_KEY: {}",
    "secret = {}",
]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_plain_secret_shows_nowhere_it_is_named(carrier: str) -> None:
    for secret in (PLAIN, quote(PLAIN, safe="")):
        shown = redaction.redact(carrier.format(secret))
        assert secret not in shown and "****" in shown
        assert redaction.redact(shown) == shown or secret not in redaction.redact(shown)


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_shows_nowhere(name: str) -> None:
    secret, telling = SECRETS[name]
    for carrier in ("{}", "x {} y", "got {}, which is wrong", "<{}>", "/path/{}/more", *CARRIERS):
        assert telling not in redaction.redact(carrier.format(secret)), carrier


def test_a_remembered_secret_shows_nowhere_whatever_it_looks_like() -> None:
    redaction.remember("correct horse battery", "ab")
    assert redaction.redact("said correct horse battery, absolutely") == "said ****, absolutely"


@pytest.mark.parametrize(
    "text",
    [
        "the token was revoked",
        "tokens: 5 in use",
        "max_login_attempts=5 prompt_token_count: 7",
        "token_id=0123456789abcdef",
        "key: value, monkey=3",
        "https://host.example/models?x=1",
        "basic usage",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redaction.redact(text) == text


def test_the_public_part_of_a_token_stays() -> None:
    assert TOKEN.id in redaction.redact(f"token {TOKEN.text} refused")


@pytest.fixture
def written() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Everything())
    redaction.install(handler)
    redaction.install(handler)
    assert len(handler.filters) == 1
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream


class Everything(logging.Formatter):
    """Writes all that a record holds."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) + json.dumps(record.__dict__, default=str)


@pytest.mark.parametrize("name", SECRETS)
def test_no_way_into_the_log_lets_a_secret_through(name: str, written: tuple[logging.Logger, io.StringIO]) -> None:
    secret, telling = SECRETS[name]
    logger, stream = written
    logger.info(secret)
    logger.info("got %s and %r", secret, {"x": secret})
    logger.info("got %(token)s", {"token": secret})
    logger.info("wrong format %d", secret)
    logger.info("extra", extra={"headers": {"authorization": f"Bearer {secret}"}, "token": secret, "deep": [[secret]]})
    logger.info("stack", stack_info=True)
    try:
        raise ValueError(secret) from KeyError(secret)
    except ValueError:
        logger.exception("failed")
    text = stream.getvalue()
    assert telling not in text and "ValueError" in text and "failed" in text and text.count("****") >= 7
