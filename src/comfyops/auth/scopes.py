"""Pure: what can be allowed, and the roles that come with ComfyOps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SELF = "self"
SERVER_READ = "server:read"
SERVER_OPERATE = "server:operate"
JOBS_READ = "jobs:read"
JOBS_WRITE = "jobs:write"
JOBS_ALL = "jobs:all"
FILES_READ = "files:read"
FILES_WRITE = "files:write"
USERDATA_READ = "userdata:read"
USERDATA_WRITE = "userdata:write"
LOGS_READ = "logs:read"
AUDIT_READ = "audit:read"
ACCESS_MANAGE = "access:manage"
ROUTES_ANY = "routes:any"

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        SELF: "see who one is, sign out, change one's own password",
        SERVER_READ: "the page, node types, lists of models, figures of the server, length of the queue",
        SERVER_OPERATE: "free memory, metrics, how the server is run",
        JOBS_READ: "one's own jobs, history and messages",
        JOBS_WRITE: "submit jobs, cancel and delete one's own",
        JOBS_ALL: "jobs and files of everybody, with what the other scopes allow",
        FILES_READ: "pictures and other results of one's own",
        FILES_WRITE: "upload pictures",
        USERDATA_READ: "one's own saved workflows and settings",
        USERDATA_WRITE: "change them",
        LOGS_READ: "the log of the server",
        AUDIT_READ: "the record of who did what",
        ACCESS_MANAGE: "users, tokens and roles",
        ROUTES_ANY: "routes that the policy does not know, such as those of custom nodes",
    }
)
"""Every scope, and what it allows."""

GUEST = frozenset({SELF, SERVER_READ})
"""Scopes of somebody without a credential, where guests are let in at all."""

_VIEWER = GUEST | {JOBS_READ, FILES_READ, USERDATA_READ}
_ARTIST = _VIEWER | {JOBS_WRITE, FILES_WRITE, USERDATA_WRITE}
_OPERATOR = _ARTIST | {JOBS_ALL, SERVER_OPERATE, LOGS_READ}

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "viewer": _VIEWER,
        "artist": _ARTIST,
        "operator": _OPERATOR,
        "administrator": frozenset(MEANINGS),
    }
)
"""The roles that are always there; others can be made from scopes."""
