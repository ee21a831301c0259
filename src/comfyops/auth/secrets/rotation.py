"""New values in place of old ones, and the window in which both are in force."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from comfyops.auth.secrets import strength
from comfyops.auth.secrets.model import FIELDS, PUBLIC_FIELDS, Document, Secret
from comfyops.errors import MissingExtraError, SecretsError, WeakSecretError

ROUNDS = 12
LONGEST_OVERLAP = timedelta(days=30)


def fresh(kind: str, value: str | None = None, username: str | None = None) -> dict[str, str]:
    """Fields of a new secret: from `value` (a token, or a login's password), else random.

    Raises WeakSecretError, SecretsError, MissingExtraError.
    """
    if kind not in FIELDS:
        raise SecretsError(f"There is no such kind of secret; there are {', '.join(FIELDS)}.")
    if kind == "token":
        return checked({"value": value or _random()})
    password = value or _random()
    problem = strength.password_problem(password)
    if problem:
        raise WeakSecretError(f"This password is refused: {problem}.")
    return checked({"hash": hashed(password), "password": password, "username": username or "admin"})


def checked(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields where all of them are strong. Raises WeakSecretError, which names the field."""
    for name, value in fields.items():
        problem = strength.field_problem(name, value)
        if problem:
            raise WeakSecretError(f"The {name} is refused: {problem}.", field=name)
    return dict(fields)


def rotated(document: Document, name: str, fields: Mapping[str, str], now: datetime, overlap: timedelta) -> Document:
    """The document with new fields for a secret; the old ones stay as `previous` for the time of `overlap`.

    Raises SecretsError for an unknown secret, an impossible window, or while a window is open already.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise SecretsError(f"The window of a rotation is from nothing to {LONGEST_OVERLAP.days} days.")
    old = document.secrets.get(name)
    if old is None:
        raise SecretsError(
            "There is no secret of this name.", hint=f"There are: {', '.join(document.secrets) or 'none'}."
        )
    if old.overlaps(now):
        words = f"The last rotation of {name} is not over: its old value is still in force."
        raise SecretsError(words, hint="End its window first with `comfyops secrets rotate NAME --finish`.")
    kept = {key: value for key, value in old.fields.items() if key not in PUBLIC_FIELDS} if overlap else {}
    until = now + overlap if kept else None
    return document.with_secret(Secret(name, old.kind, dict(fields), now, kept, until))


def finished(document: Document, names: frozenset[str] | None, now: datetime) -> Document:
    """The document without previous values: of these names at once, or (None) of those whose window is over."""
    for secret in tuple(document.secrets.values()):
        over = not secret.overlaps(now) if names is None else secret.name in names
        if secret.previous and over:
            document = document.with_secret(replace(secret, previous={}, previous_until=None))
    return document


def hashed(password: str) -> str:
    """The bcrypt hash of a password. Raises MissingExtraError."""
    bcrypt = _bcrypt()
    return str(bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)), "ascii")


def belongs(password: str, known_hash: str) -> bool:
    """Whether a hash was made of this password. Raises MissingExtraError."""
    try:
        return bool(_bcrypt().checkpw(password.encode(), known_hash.encode()))
    except ValueError:
        return False


def _random() -> str:
    while True:
        value = random.token_urlsafe(32)
        if strength.token_problem(value) is None and not value.startswith("-"):  # which a command takes for an option
            return value


def _bcrypt() -> Any:
    try:
        import bcrypt
    except ImportError as error:
        hint = "Install it with: pip install 'comfyops[server]'"
        raise MissingExtraError("Passwords need the library bcrypt, which is not installed.", hint=hint) from error
    return bcrypt
