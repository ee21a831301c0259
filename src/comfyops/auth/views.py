"""Pure: tokens, users, sessions and records as programs get to see them, without any secret or hash of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfyops.auth.chain import Record
    from comfyops.auth.records import Session, Token, User


def token(found: Token) -> dict[str, Any]:
    """A token; times are seconds since the epoch."""
    names = ("id", "name", "owner", "role", "created_at", "expires_at", "revoked_at")
    return {name: getattr(found, name) for name in names}


def user(found: User) -> dict[str, Any]:
    """A user."""
    return {name: getattr(found, name) for name in ("id", "name", "role", "disabled", "created_at")}


def session(found: Session) -> dict[str, Any]:
    """Somebody who has signed in; the id is public, it lets nobody in."""
    times = {name: getattr(found, name) for name in ("created_at", "expires_at", "seen_at")}
    return {"id": found.id, "user": found.user.name, **times}


def record(found: Record) -> dict[str, Any]:
    """What somebody did."""
    names = ("at", "action", "actor", "name", "token_id", "address", "target", "allowed", "reason", "details")
    values = {name: getattr(found.event, name) for name in names}
    return {"seq": found.seq, **values, "details": dict(found.event.details), "hash": found.hash}
