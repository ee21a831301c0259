"""Who calls, and what they may change in whose name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from comfyops.auth.administration import Administration
from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.principal import Principal
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.refusal import RefusedError


@dataclass(frozen=True)
class House:
    """What the routes work on."""

    store: Store
    audit: AuditLog
    kept: AuditStore
    settings: AuthSettings


class Body(BaseModel):
    """A JSON body: exactly these fields, of these types."""

    model_config = ConfigDict(extra="forbid", strict=True)


def house(request: Request) -> House:
    """What the application was made with."""
    found: House = request.app.state.house
    return found


def principal(request: Request) -> Principal:
    """Who the gateway let in. Raises RefusedError where it let in nobody in particular."""
    found = request.scope.get("state", {}).get("principal")
    if not isinstance(found, Principal):
        raise RefusedError(401, "unauthenticated", "This needs a credential.")
    return found


def administration(request: Request) -> Administration:
    """Changes in the caller's name."""
    known, address = house(request), request.scope.get("state", {}).get("address", "")
    rounds = known.settings.bcrypt_rounds
    return Administration(known.store, known.audit, principal(request), rounds, address=address)


def person(request: Request) -> Principal:
    """Who has signed in. Raises RefusedError for tokens, guests and the listener without credentials."""
    found = principal(request)
    if found.kind != "user":
        raise RefusedError(403, "no_user", "Only somebody who has signed in has tokens and sessions of their own.")
    return found


Known = Annotated[House, Depends(house)]
Changes = Annotated[Administration, Depends(administration)]
Person = Annotated[Principal, Depends(person)]
