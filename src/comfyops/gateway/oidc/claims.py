"""Pure: what a provider says of somebody, and what that makes of them here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from comfyops.auth.names import is_name
from comfyops.errors import WrongCredentialError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that count: those that only the provider can make."""

_LEEWAY = 60  # seconds by which clocks may differ
_LONGEST_LIFE = 86_400  # seconds for which a token of this kind may count


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say; times are seconds since the epoch."""

    issuer: str
    client_id: str
    nonce: str
    now: float


def verified(token: str, keys: Mapping[str, Any], expected: Expected, access_token: str) -> dict[str, Any]:
    """The claims of an id_token that these keys (a JWKS) have signed (OpenID Connect Core, section 3.1.3.7).

    Raises UnknownKeyError where it is signed by a key that is not among them, WrongCredentialError for any other fault.
    """
    from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
    from joserfc import errors, jwt

    try:
        found = jwt.decode(token, _key_set(keys), algorithms=list(ALGORITHMS))
        options: Any = {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
            "sub": {"essential": True},
        }
        params = {"client_id": expected.client_id, "nonce": expected.nonce, "access_token": access_token}
        claims = CodeIDToken(found.claims, found.header, options, params)
        claims.validate(now=int(expected.now), leeway=_LEEWAY)
        _check_shape(claims, expected)
    except (errors.InvalidKeyIdError, errors.BadSignatureError) as error:
        raise UnknownKeyError from error
    except (errors.JoseError, ValueError, TypeError, KeyError) as error:
        raise WrongCredentialError("The provider's token is not one that counts here.") from error
    return dict(claims)


class UnknownKeyError(Exception):
    """A token is signed by no key that is known: the provider may have new ones. It stays inside this folder."""


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """What somebody is called here. Raises WrongCredentialError where the provider gives no usable name."""
    for key in (claim, "email"):
        value = claims.get(key)
        if isinstance(value, str) and is_name(value):
            return value
    raise WrongCredentialError(
        f"The provider gives you no name that can be one here (claim {claim!r}).",
        hint="See COMFYOPS_OIDC_NAME_CLAIM: 1 to 64 letters, digits and . _ @ + -",
    )


def role_of(claims: Mapping[str, Any], claim: str, roles: Iterable[tuple[str, str]]) -> str | None:
    """The role of the first pair whose value the claim is, or holds in a list; None where none fits.

    `a.b` is b inside of a, where there is no claim of that name.
    """
    value: Any = claims.get(claim)
    if value is None:
        value = claims
        for part in claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    held = value if isinstance(value, list) else [value]
    return next((role for wanted, role in roles if wanted in held), None)


def _key_set(keys: Mapping[str, Any]) -> Any:
    """The keys that can be used; others, of kinds that are unknown here or for encryption, do not matter."""
    from joserfc import errors, jwk

    usable = []
    for key in keys.get("keys", ()):
        if not isinstance(key, dict) or key.get("use", "sig") != "sig" or key.get("kty") not in ("RSA", "EC"):
            continue
        try:
            usable.append(jwk.JWKRegistry.import_key({name: key[name] for name in key if name != "x5c"}))
        except (errors.JoseError, ValueError, TypeError, KeyError):
            continue
    return jwk.KeySet(usable)


def _check_shape(claims: Mapping[str, Any], expected: Expected) -> None:
    subject, times = claims["sub"], (claims["iat"], claims["exp"])
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or claims.get("nonce") != expected.nonce:
        raise ValueError("sub or nonce")
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in times):
        raise ValueError("times")
    if times[1] - expected.now > _LONGEST_LIFE or times[0] > expected.now + _LEEWAY:
        raise ValueError("times")
