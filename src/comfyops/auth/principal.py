"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "user", "guest", "open"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as established by a credential.

    `id` is the owner: it stays the same when a token is rotated, and is what jobs, files and history belong to.
    `token_id` says which credential was shown, and may be logged: the public part of the token, the public id of the
    session (`ses_...`), "" for guests, "open" for who came by the listener that asks for none.
    """

    id: str
    name: str
    role: str
    scopes: frozenset[str]
    kind: Kind
    token_id: str = ""

    def may(self, scope: str) -> bool:
        """Whether this scope was given."""
        return scope in self.scopes
