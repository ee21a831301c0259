"""Routes of the record of who did what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from comfyops.auth import views
from comfyops.errors import AuditError
from comfyops.gateway.managing.caller import Known

router = APIRouter()

_PATIENCE = 5.0  # seconds that reading waits for what was just recorded


@router.get("/audit")
def newest(
    known: Known,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 50,
    who: str = "",
    action: str = "",
    refused: bool = False,
) -> dict[str, Any]:
    """What was done, newest first; `who` is a name or id, `action` a beginning such as auth.token."""
    known.audit.flush(_PATIENCE)
    found = known.kept.newest(limit, actor=who, action=action, refused=refused)
    return {"records": [views.record(item) for item in found]}


@router.get("/audit/verify")
def verify(known: Known, head: str = "") -> dict[str, Any]:
    """Whether no record was changed, removed or reordered, and the newest hash; `head` has to be in the chain."""
    known.audit.flush(_PATIENCE)
    try:
        found = known.kept.verify(head)
    except AuditError as error:
        return {"whole": False, "message": error.message, **error.facts}
    return {"whole": True, "records": found.records, "dropped": found.dropped, "seq": found.seq, "hash": found.hash}
