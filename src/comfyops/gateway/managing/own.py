"""Routes of somebody who has signed in: their own tokens and sessions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from comfyops.auth import views
from comfyops.auth.principal import Principal
from comfyops.auth.records import Token
from comfyops.gateway.managing.access import lifetime, shown
from comfyops.gateway.managing.caller import Body, Changes, House, Known, Person
from comfyops.gateway.refusal import RefusedError

router = APIRouter()


class OwnTokenBody(Body):
    """`role` is one's own, or one that may do no more."""

    name: str
    role: str | None = None
    expires: str | None = None


@router.get("/auth/own/tokens")
def tokens(known: Known, person: Person) -> dict[str, Any]:
    """One's own tokens, oldest first."""
    return {"tokens": [views.token(found) for found in _own(known, person)]}


@router.post("/auth/own/tokens", status_code=201)
def create_token(body: OwnTokenBody, known: Known, person: Person, changes: Changes) -> dict[str, Any]:
    """Make a token of one's own; its text is in `token`, this once."""
    role = body.role or person.role
    scopes = known.store.roles.all().get(role)
    if scopes is not None and not scopes <= person.scopes:
        raise RefusedError(403, "role_too_high", f"The role {role!r} may do more than you.")
    return shown(changes.create_token(body.name, role, lifetime=lifetime(body.expires), user=person.name))


@router.delete("/auth/own/tokens/{name}")
def revoke_token(name: str, known: Known, person: Person, changes: Changes) -> dict[str, Any]:
    """End a token of one's own, by name or id."""
    mine = [found for found in _own(known, person) if name in (found.name, found.id) and found.revoked_at is None]
    if not mine:
        raise RefusedError(404, "not_found", "You have no such token in use.")
    return {"revoked": [views.token(ended) for found in mine for ended in changes.revoke_token(found.id)]}


@router.get("/auth/own/sessions")
def sessions(known: Known, person: Person) -> dict[str, Any]:
    """Where one is signed in; `current` is this session."""
    found = known.store.sessions.all(known.store.clock(), known.settings.session_idle)
    mine = [views.session(item) for item in found if item.user.id == person.id]
    return {"sessions": [{**item, "current": item["id"] == person.token_id} for item in mine]}


@router.delete("/auth/own/sessions/{session}")
def end_session(session: str, known: Known, person: Person, changes: Changes) -> dict[str, Any]:
    """End a session of one's own."""
    if session not in {item["id"] for item in sessions(known, person)["sessions"]}:
        raise RefusedError(404, "not_found", "You have no such session.")
    return {"ended": list(changes.end_sessions(session=session))}


def _own(known: House, person: Principal) -> list[Token]:
    return [found for found in known.store.tokens.all() if found.owner == person.id]
