"""What each role may do, and that nothing is allowed by chance."""

from __future__ import annotations

from itertools import pairwise

import pytest

from comfyops.auth import scopes
from comfyops.auth.policy import _TABLE, PUBLIC_ROUTES, decide, normalise, route_scope
from comfyops.auth.principal import Principal
from tests.unit.doc_pages import DOCS, table

GUEST = Principal("guest", "guest", "guest", scopes.GUEST, "guest")


def somebody(role: str) -> Principal:
    return Principal("own_1", "ann", role, scopes.ROLES[role], "token", "abc")


@pytest.mark.parametrize(
    ("method", "path", "lowest"),
    [
        ("GET", "/", "guest"),
        ("GET", "/system_stats", "guest"),
        ("GET", "/object_info/KSampler", "guest"),
        ("GET", "/assets/index-abc.js", "guest"),
        ("GET", "/ws", "viewer"),
        ("GET", "/history/some-id", "viewer"),
        ("GET", "/jobs", "viewer"),
        ("HEAD", "/view", "viewer"),
        ("GET", "/assets", "viewer"),
        ("GET", "/assets/0b5a/content", "viewer"),
        ("GET", "/userdata/workflows/a.json", "viewer"),
        ("POST", "/prompt", "artist"),
        ("POST", "/jobs/some-id/cancel", "artist"),
        ("POST", "/upload/image", "artist"),
        ("POST", "/userdata/x.js", "artist"),
        ("POST", "/userdata/a.json/move/out.js", "artist"),
        ("POST", "/settings/x.js", "artist"),
        ("DELETE", "/userdata/user.css", "artist"),
        ("POST", "/free", "operator"),
        ("GET", "/internal/logs/raw", "operator"),
        ("PATCH", "/internal/logs/subscribe", "operator"),
        ("GET", "/metrics", "operator"),
        ("GET", "/audit", "administrator"),
        ("POST", "/auth/tokens", "administrator"),
        ("POST", "/users", "administrator"),
        ("GET", "/customnode/getlist", "administrator"),
        ("POST", "/manager/reboot", "administrator"),
        ("TRACE", "/prompt", "administrator"),
    ],
)
def test_a_route_is_open_from_one_role_upwards(method: str, path: str, lowest: str) -> None:
    assert normalise(path) == path
    principals = [GUEST, *(somebody(role) for role in ("viewer", "artist", "operator", "administrator"))]
    allowed = [item.role for item in principals if decide(item, method, path).allowed]
    assert allowed == [item.role for item in principals][-len(allowed) :] and allowed[0] == lowest
    assert decide(None, method, path).status == 401


def test_somebody_without_the_scope_is_told_which_one() -> None:
    decision = decide(somebody("viewer"), "POST", "/prompt")
    assert (decision.status, decision.code) == (403, "forbidden") and "jobs:write" in decision.reason
    assert decide(somebody("operator"), "GET", "/made/up").code == "unknown_route"


def test_only_the_exact_public_routes_are_public() -> None:
    for method, path in PUBLIC_ROUTES:
        assert decide(None, method, path).allowed and decide(None, method.lower(), path).allowed
        assert decide(None, "PUT", path).status == 401
        assert decide(None, method, path + ".js").status == 401 == decide(None, method, path.upper()).status
    assert decide(None, "HEAD", "/health").allowed


def test_a_signed_link_is_read_without_a_credential_and_nothing_beside_it() -> None:
    path = "/v2/signed/0b0e7a60-3d7e-4e49-9a58-2f6f5d0d7a11"
    for method in ("GET", "HEAD"):
        assert decide(None, method, path).allowed
    for method in ("POST", "DELETE", "OPTIONS"):
        assert decide(None, method, path).status == 401
    for other in (path + "/x", path + "x", path.upper(), "/v2/signed", "/v2/signed/x", path + "\n", "/x" + path):
        assert decide(None, "GET", other).status == 401


@pytest.mark.parametrize("suffix", [".css", ".css.map", ".js", ".ico"])
def test_no_suffix_of_a_path_opens_it(suffix: str) -> None:
    for path in (f"/userdata/x{suffix}", f"/settings/x{suffix}", f"/history/x{suffix}", f"/x{suffix}"):
        for method in ("GET", "POST", "DELETE"):
            assert decide(None, method, path).status == 401
            assert method == "GET" or not decide(GUEST, method, path).allowed


def test_a_guest_changes_nothing() -> None:
    for methods, template, _ in _TABLE:
        path = template.replace("**", "x").replace("*", "x")
        for method in set(methods) - {"GET", "HEAD"}:
            own = ("/auth/logout", "/auth/password", "/auth/own/x")  # which ask for somebody signed in
            assert not decide(GUEST, method, path).allowed or path in own


def test_every_scope_is_explained_and_needed_somewhere() -> None:
    whose = scopes.JOBS_ALL  # decides whose jobs one sees, after the route
    used = {scope for _, _, scope in _TABLE} | {scopes.ROUTES_ANY, whose}
    assert used <= set(scopes.MEANINGS) == set(scopes.ROLES["administrator"])
    assert set(scopes.MEANINGS) == used


def test_roles_grow() -> None:
    ladder = [scopes.GUEST, *(scopes.ROLES[name] for name in ("viewer", "artist", "operator", "administrator"))]
    assert all(smaller < larger for smaller, larger in pairwise(ladder))


def test_case_does_not_change_what_a_route_needs() -> None:
    assert route_scope("POST", "/Upload/IMAGE") == "files:write"


def test_the_page_on_access_lists_every_scope_role_and_public_route() -> None:
    page = DOCS / "auth.md"
    roles = [scopes.GUEST, *scopes.ROLES.values()]
    wanted = [
        [f"`{name}`", meaning, *("yes" if name in role else "" for role in roles)]
        for name, meaning in scopes.MEANINGS.items()
    ]
    assert [[f"`{cells[0]}`", *cells[1:]] for cells in table(page, "scope")] == wanted
    assert {tuple(cells[0].split()) for cells in table(page, "route")} == PUBLIC_ROUTES
