"""Routes of those who manage access: tokens, users, roles and sessions of everybody."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from comfyops.auth import durations, views
from comfyops.auth.administration import NewToken
from comfyops.gateway.managing.caller import Body, Changes, Known

router = APIRouter()


class NewTokenBody(Body):
    """`expires` is a length of time such as 30d, None until revoked; `user` is whose it is."""

    name: str
    role: str
    expires: str | None = None
    user: str | None = None


class RotateBody(Body):
    """`overlap` is how long the old secret counts beside the new, such as 1h."""

    overlap: str | None = None


class NewUserBody(Body):
    """Somebody with a password."""

    name: str
    role: str
    password: str


class PasswordBody(Body):
    """Another password."""

    password: str


class RoleBody(Body):
    """Another role."""

    role: str


class ScopesBody(Body):
    """Everything a role may do."""

    scopes: list[str]


@router.get("/auth/tokens")
def tokens(known: Known) -> dict[str, Any]:
    """Every token that ever was, oldest first."""
    return {"tokens": [views.token(found) for found in known.store.tokens.all()]}


@router.post("/auth/tokens", status_code=201)
def create_token(body: NewTokenBody, changes: Changes) -> dict[str, Any]:
    """Make a token; its text is in `token`, this once."""
    return shown(changes.create_token(body.name, body.role, lifetime=lifetime(body.expires), user=body.user))


@router.post("/auth/tokens/{name}/rotate", status_code=201)
def rotate_token(name: str, changes: Changes, body: RotateBody | None = None) -> dict[str, Any]:
    """Give a token another secret; its text is in `token`, this once."""
    overlap = lifetime(body.overlap) if body else None
    return shown(changes.rotate_token(name, overlap or 0.0))


@router.delete("/auth/tokens/{name}")
def revoke_token(name: str, changes: Changes) -> dict[str, Any]:
    """End a token, by name or id."""
    return {"revoked": [views.token(found) for found in changes.revoke_token(name)]}


@router.get("/auth/users")
def users(known: Known) -> dict[str, Any]:
    """Every user, by name."""
    return {"users": [views.user(found) for found in known.store.users.all()]}


@router.post("/auth/users", status_code=201)
def create_user(body: NewUserBody, changes: Changes) -> dict[str, Any]:
    """Make a user."""
    return views.user(changes.create_user(body.name, body.role, body.password))


@router.post("/auth/users/{name}/password")
def set_password(name: str, body: PasswordBody, changes: Changes) -> dict[str, Any]:
    """Give a user another password; their sessions end."""
    return views.user(changes.set_password(name, body.password))


@router.post("/auth/users/{name}/role")
def set_user_role(name: str, body: RoleBody, changes: Changes) -> dict[str, Any]:
    """Give a user another role; their sessions end."""
    return views.user(changes.set_user_role(name, body.role))


@router.post("/auth/users/{name}/disable")
def disable_user(name: str, changes: Changes) -> dict[str, Any]:
    """Keep a user out, with all tokens and sessions."""
    return views.user(changes.disable_user(name))


@router.post("/auth/users/{name}/enable")
def enable_user(name: str, changes: Changes) -> dict[str, Any]:
    """Let a user in again."""
    return views.user(changes.disable_user(name, disabled=False))


@router.get("/auth/roles")
def roles(known: Known) -> dict[str, Any]:
    """Every role and its scopes."""
    return {"roles": {name: sorted(scopes) for name, scopes in known.store.roles.all().items()}}


@router.put("/auth/roles/{name}")
def set_role(name: str, body: ScopesBody, changes: Changes) -> dict[str, Any]:
    """Make a role, or give one other scopes, at once for everybody who has it."""
    return {"name": name, "scopes": sorted(changes.set_role(name, body.scopes))}


@router.delete("/auth/roles/{name}")
def remove_role(name: str, changes: Changes) -> dict[str, Any]:
    """Forget a role of one's own; one of ComfyOps's gets its scopes back."""
    changes.remove_role(name)
    return {"name": name, "scopes": None}


@router.get("/auth/sessions")
def sessions(known: Known) -> dict[str, Any]:
    """Who is signed in, the last used first."""
    found = known.store.sessions.all(known.store.clock(), known.settings.session_idle)
    return {"sessions": [views.session(item) for item in found]}


@router.delete("/auth/sessions/{session}")
def end_session(session: str, changes: Changes) -> dict[str, Any]:
    """End a session, by its id."""
    return {"ended": list(changes.end_sessions(session=session))}


@router.delete("/auth/sessions")
def end_sessions(user: str, changes: Changes) -> dict[str, Any]:
    """End every session of the user in the query."""
    return {"ended": list(changes.end_sessions(user=user))}


def lifetime(text: str | None) -> float | None:
    """Seconds of a length of time. Raises UsageError."""
    return None if text is None else durations.seconds(text)


def shown(made: NewToken) -> dict[str, Any]:
    """A token that was just made, with its text."""
    return {"token": made.text, **views.token(made.token)}
