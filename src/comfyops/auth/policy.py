"""Pure: which scope a route needs, and whether somebody has it. What is in no list is refused.

The one table of ComfyUI's routes and of ours. HTTP and websocket requests are decided here alike; ownership (whose job,
whose picture) is decided by the gateway after this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from comfyops.auth import scopes as s
from comfyops.auth.paths import normalise
from comfyops.auth.principal import Principal

__all__ = ["PUBLIC_ROUTES", "Decision", "canonical", "decide", "is_public", "normalise", "route_scope"]

PUBLIC_ROUTES = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/auth/login"),
        ("POST", "/auth/login"),
        ("POST", "/auth/setup"),
        ("GET", "/auth/verify"),
        ("GET", "/auth/oidc/login"),
        ("GET", "/auth/oidc/callback"),
    }
)
"""Method and exact path of what needs no credential; /auth/verify and /auth/setup judge what they are given."""

_SIGNED = re.compile(r"/v2/signed/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Files that are fetched by a signed link, which is the credential; who serves them checks it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is let in; else the status to answer with (401 without a credential, 403 with one), and why."""

    allowed: bool
    status: int
    code: str
    reason: str


_READ = ("GET", "HEAD")
_FILE = r"[^/]+\.(?:css|css\.map|html|ico|jpe?g|js|js\.map|json|mjs|png|svg|txt|webmanifest|webp|woff2?)"

# Methods, path (`*` is one name, `**` the rest, `{...}` a pattern for one name), scope. The first that fits counts.
_TABLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # Ours.
    (_READ, "/auth/session", s.SELF),
    (("POST",), "/auth/logout", s.SELF),
    (("POST",), "/auth/password", s.SELF),
    (("GET", "POST", "DELETE"), "/auth/tokens/**", s.ACCESS_MANAGE),
    (("GET", "POST"), "/auth/users/**", s.ACCESS_MANAGE),
    (("GET", "PUT", "DELETE"), "/auth/roles/**", s.ACCESS_MANAGE),
    (("GET", "DELETE"), "/auth/sessions/**", s.ACCESS_MANAGE),
    (("GET", "POST", "DELETE"), "/auth/own/**", s.SELF),
    (_READ, "/audit/**", s.AUDIT_READ),
    (_READ, "/metrics", s.SERVER_OPERATE),
    (("GET", "HEAD", "POST"), "/ops/**", s.SERVER_OPERATE),
    # ComfyUI: running jobs.
    (("GET",), "/ws", s.JOBS_READ),
    (_READ, "/prompt", s.SERVER_READ),
    (("POST",), "/prompt", s.JOBS_WRITE),
    (_READ, "/queue", s.SERVER_READ),
    (("POST",), "/queue", s.JOBS_WRITE),
    (("POST",), "/interrupt", s.JOBS_WRITE),
    (("POST",), "/free", s.SERVER_OPERATE),
    (_READ, "/history/**", s.JOBS_READ),
    (_READ, "/history_v2/*", s.JOBS_READ),
    (("POST",), "/history", s.JOBS_WRITE),
    (_READ, "/jobs/**", s.JOBS_READ),
    (("POST",), "/jobs/cancel", s.JOBS_WRITE),
    (("POST",), "/jobs/*/cancel", s.JOBS_WRITE),
    # ComfyUI: files.
    (_READ, "/view", s.FILES_READ),
    (("POST",), "/upload/image", s.FILES_WRITE),
    (("POST",), "/upload/mask", s.FILES_WRITE),
    (_READ, f"/assets/{{{_FILE}}}", s.SERVER_READ),  # the page's own; /api/assets are the pictures
    (("POST",), "/assets/seed/**", s.SERVER_OPERATE),
    (("POST",), "/assets/prune", s.SERVER_OPERATE),
    (_READ, "/assets/**", s.FILES_READ),
    (("POST", "PUT", "DELETE"), "/assets/**", s.FILES_WRITE),
    (_READ, "/tags/**", s.FILES_READ),
    # ComfyUI: what people keep.
    (_READ, "/userdata/**", s.USERDATA_READ),
    (_READ, "/v2/userdata/**", s.USERDATA_READ),
    # Comfy API v2.
    (_READ, "/v2/jobs/**", s.JOBS_READ),
    (("POST", "DELETE"), "/v2/jobs/**", s.JOBS_WRITE),
    (_READ, "/v2/batches/**", s.JOBS_READ),
    (("POST",), "/v2/batches", s.JOBS_WRITE),
    (_READ, "/v2/assets/**", s.FILES_READ),
    (("POST", "DELETE"), "/v2/assets/**", s.FILES_WRITE),
    (_READ, "/v2/health", s.SERVER_READ),
    (_READ, "/v2/openapi.json", s.SERVER_READ),
    (("POST", "DELETE"), "/userdata/**", s.USERDATA_WRITE),
    (_READ, "/settings/**", s.USERDATA_READ),
    (("POST",), "/settings/**", s.USERDATA_WRITE),
    (_READ, "/users", s.SERVER_READ),
    (("POST",), "/users", s.ACCESS_MANAGE),
    # ComfyUI: facts about the server.
    (_READ, "/system_stats", s.SERVER_READ),
    (_READ, "/features", s.SERVER_READ),
    (_READ, "/object_info/**", s.SERVER_READ),
    (_READ, "/node_replacements", s.SERVER_READ),
    (_READ, "/embeddings", s.SERVER_READ),
    (_READ, "/models/**", s.SERVER_READ),
    (_READ, "/view_metadata/**", s.SERVER_READ),
    (_READ, "/experiment/models/**", s.SERVER_READ),
    (_READ, "/workflow_templates/**", s.SERVER_READ),
    (_READ, "/global_subgraphs/**", s.SERVER_READ),
    (_READ, "/i18n", s.SERVER_READ),
    (_READ, "/internal/logs/**", s.LOGS_READ),
    (("PATCH",), "/internal/logs/subscribe", s.LOGS_READ),
    (_READ, "/internal/folder_paths", s.SERVER_READ),  # names; the places for those who have LOGS_READ
    (_READ, "/internal/files/*", s.FILES_READ),
    # ComfyUI: the page.
    (_READ, "/", s.SERVER_READ),
    (_READ, "/extensions/**", s.SERVER_READ),
    (_READ, "/templates/**", s.SERVER_READ),
    (_READ, "/docs/**", s.SERVER_READ),
    (_READ, "/scripts/**", s.SERVER_READ),
    (_READ, "/lib/**", s.SERVER_READ),
    (_READ, "/fonts/**", s.SERVER_READ),
    (_READ, f"/{{{_FILE}}}", s.SERVER_READ),
)


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: re.Pattern[str]
    words: tuple[str, ...]
    scopes: dict[str, str]


def _compiled(template: str) -> re.Pattern[str]:
    parts = []
    for part in re.findall(r"/(\{.*\}|[^/{]*)", template):
        if part == "**":
            parts.append(r"(?:/.*)?")
        elif part == "*":
            parts.append(r"/[^/]+")
        else:
            parts.append("/" + (part[1:-1] if part.startswith("{") else re.escape(part)))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _words(template: str) -> tuple[str, ...]:
    """The names that are fixed, "" where a name is free."""
    parts = [] if template == "/" else template[1:].split("/")
    return tuple("" if part.startswith(("*", "{")) else part for part in parts if part != "**")


def _routes() -> tuple[_Route, ...]:
    grouped: dict[str, dict[str, str]] = {}
    for methods, template, scope in _TABLE:
        grouped.setdefault(template, {}).update(dict.fromkeys(methods, scope))
    return tuple(_Route(_compiled(template), _words(template), found) for template, found in grouped.items())


_ROUTES = _routes()
_EXACT = {"/" + "/".join(route.words): route for route in _ROUTES if all(route.words)}


def route_scope(method: str, path: str) -> str | None:
    """The scope that a known route needs; None where the table has no such route. `path` is normalised.

    A path is read without regard to case: a server on Windows may do so too.
    """
    if (found := _EXACT.get(path)) and (scope := found.scopes.get(method)):
        return scope
    for route in _ROUTES:
        if (scope := route.scopes.get(method)) and route.pattern.fullmatch(path):
            return scope
    return None


def canonical(path: str) -> str:
    """A normalised path with the words of known routes in small letters: "/History/Ab" becomes "/history/Ab".

    Who compares a path with a route's compares this.
    """
    if path in _EXACT:
        return path
    names = path[1:].split("/")
    for route in _ROUTES:
        if route.pattern.fullmatch(path):
            names[: len(route.words)] = [word or name for word, name in zip(route.words, names, strict=False)]
            return "/" + "/".join(names)
    return path


def is_public(method: str, path: str) -> bool:
    """Whether a route needs no credential. `path` is normalised."""
    if method == "HEAD":
        method = "GET"
    return (method, path) in PUBLIC_ROUTES or (method == "GET" and _SIGNED.fullmatch(path) is not None)


def decide(principal: Principal | None, method: str, path: str) -> Decision:
    """Whether this principal (None: nobody is signed in) may do this. `path` is normalised.

    Routes that the table does not know need the scope `routes:any`.
    """
    method = method.upper()
    if is_public(method, path):
        return Decision(True, 200, "public", "Everybody may do this.")
    if principal is None:
        return Decision(False, 401, "unauthenticated", "This needs a credential.")
    scope = route_scope(method, path)
    if principal.may(scope or s.ROUTES_ANY):
        return Decision(True, 200, "allowed", f"The role {principal.role} has {scope or s.ROUTES_ANY}.")
    if scope is None:
        return Decision(False, 403, "unknown_route", f"No known route; the role {principal.role} lacks {s.ROUTES_ANY}.")
    return Decision(False, 403, "forbidden", f"The role {principal.role} lacks {scope}.")
