"""Texts of tokens and sessions, and hashes of passwords. Slow functions say so; `hashing` runs them in threads."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass, field

import bcrypt

from comfyops.errors import WeakPasswordError

ROUNDS = 12
"""Cost of bcrypt: 2 to this power."""

SHORTEST_PASSWORD = 10
_LONGEST_PASSWORD = 1024
_BCRYPT_READS = 72  # bytes; what follows is not looked at
_PREFIX = "cops"
_TOKEN = re.compile(rf"{_PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
_KNOWN_PASSWORDS = frozenset({"1234567890", "administrator", "qwertyuiop", "password123", "passwordpassword"})


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token in its two parts: `id` is public and finds it, `secret` proves it. It shows without the secret."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> TokenText:
        """A random one: 256 bits of secret."""
        return cls(secrets.token_hex(8), secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """The parts of a token's text; None where it is none of ours."""
        found = _TOKEN.fullmatch(text)
        return cls(found[1], found[2]) if found else None

    @property
    def text(self) -> str:
        """What its owner sends."""
        return f"{_PREFIX}_{self.id}_{self.secret}"


def digest(secret: str) -> str:
    """SHA-256 of a random secret of 256 bits, by which it is looked up: it cannot be guessed byte by byte."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def hashed(secret: str, rounds: int = ROUNDS) -> str:
    """bcrypt of a password or of a token's secret. Slow: about 0.2 s at 12 rounds."""
    return bcrypt.hashpw(_prepared(secret), bcrypt.gensalt(rounds)).decode()


def matches(secret: str, wanted: str) -> bool:
    """Whether this is the secret of a hash, False too where the hash is none. Slow."""
    try:
        return bcrypt.checkpw(_prepared(secret), wanted.encode())
    except ValueError:
        return False


def check_strength(password: str, name: str = "") -> None:
    """See that a new password is worth something. Raises WeakPasswordError."""
    if len(password) < SHORTEST_PASSWORD:
        raise WeakPasswordError(f"The password has fewer than {SHORTEST_PASSWORD} characters.")
    if len(password) > _LONGEST_PASSWORD:
        raise WeakPasswordError(
            f"The password has more than {_LONGEST_PASSWORD} characters.", hint="Take a shorter one."
        )
    small = password.lower()
    if len(set(small)) < 4 or small in _KNOWN_PASSWORDS or (name and small == name.lower()):
        raise WeakPasswordError("The password is one of the first that anybody would try.")


def _prepared(secret: str) -> bytes:
    """What bcrypt gets: the text as every keyboard writes it; hashed before where bcrypt would not read all of it."""
    raw = unicodedata.normalize("NFC", secret).encode("utf-8", "surrogatepass")
    if len(raw) > _BCRYPT_READS or b"\0" in raw:
        return base64.b64encode(hashlib.sha256(raw).digest())
    return raw
