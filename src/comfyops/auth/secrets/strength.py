"""What is refused as a secret: weak, invalid, or known to the public."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter

LEAST_TOKEN = 20  # characters
LEAST_PASSWORD = 12
LEAST_BITS = 60.0  # of a value, by how its characters are spread
LEAST_COST = 10  # bcrypt rounds, as a power of two
MOST_PASSWORD_BYTES = 72  # bcrypt takes no more

# 22 characters of salt carry 128 bits, so that the last of them has only four values; likewise at the end of the hash.
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
_LOOKS_HASHED = re.compile(r"\$+2[abxy]?\$")  # also doubled, as for Compose
_PLACEHOLDER = re.compile(
    r"(change|replace|your|example|dummy|placeholder|insert|secret[-_ ]?(key|token)|xxx|todo|<.*>|\$\{.*\})",
    re.IGNORECASE,
)
# SHA-256 of secrets that stand in public documents and repositories, so that they are not repeated here.
_PUBLISHED = frozenset(
    {
        "5ef89aac0432952d4c43f28b14179ba1f024c52bf4337a410cc906d52acf97ec",
        "7a052dd4aeb49ae3f8828437acfe52f581a4003fff526a2804cc8b97db8dc133",
        "82eb2be6434013b0c9ed24fec0e77b16478bfafc3bb471ef4c6735c04271855d",
        "d055aaa4c5f3d15eb3198c0c6508b555a7f82c9e946c61565e013df7f551a04c",
    }
)


def looks_hashed(value: str) -> bool:
    """Whether a value is meant as a bcrypt hash."""
    return bool(_LOOKS_HASHED.match(value))


def hash_problem(value: str) -> str | None:
    """Why a bcrypt hash is refused, in words without the hash; None where it is good."""
    if is_published(value):
        return "it was published"
    found = _BCRYPT.fullmatch(value)
    if found is None:
        return "it is no valid bcrypt hash"
    return f"its cost is below {LEAST_COST}" if int(found["cost"]) < LEAST_COST else None


def token_problem(value: str) -> str | None:
    """Why a token is refused; None where it is good."""
    if looks_hashed(value):
        return hash_problem(value)
    return _problem(value, LEAST_TOKEN)


def password_problem(value: str) -> str | None:
    """Why a password is refused; None where it is good."""
    if len(value.encode()) > MOST_PASSWORD_BYTES:
        return f"it is longer than {MOST_PASSWORD_BYTES} bytes, which bcrypt does not take"
    return _problem(value, LEAST_PASSWORD, bits=LEAST_BITS / 2)


def field_problem(field: str, value: str) -> str | None:
    """Why the value of a secret's field is refused; None where it is good."""
    if field == "username":
        return None if value.strip() == value and value.isprintable() else "it is not a name of one line"
    return {"hash": hash_problem, "password": password_problem}.get(field, token_problem)(value)


def is_published(value: str) -> bool:
    """Whether a value is known to have been published."""
    return hashlib.sha256(value.strip().encode(errors="replace")).hexdigest() in _PUBLISHED


def _problem(value: str, least: int, bits: float = LEAST_BITS) -> str | None:
    if is_published(value):
        return "it was published"
    if len(value) < least:
        return f"it is shorter than {least} characters"
    if not value.isprintable() or value != value.strip():
        return "it holds line ends, other control characters or spaces around it"
    if _PLACEHOLDER.match(value):
        return "it is a placeholder"
    return "it is too regular to be random" if _bits(value) < bits else None


def _bits(value: str) -> float:
    """Shannon's entropy of the value's characters, times their number."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -len(value) * sum(share * math.log2(share) for share in shares)
