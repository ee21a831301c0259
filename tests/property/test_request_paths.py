"""However a path is written, it is read as one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.auth.paths import LONGEST, normalise, upstream
from comfyops.auth.policy import canonical, decide, route_scope
from comfyops.errors import PathError

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(
    lambda name: not set("/\\%") & set(name) and name.rstrip(". ") == name and name != ""
)
PATHS = st.lists(NAMES, max_size=5).map(lambda names: "/" + "/".join(names))
PLAIN = PATHS.filter(lambda path: path.split("/")[1].lower() != "api")
ANYTHING = st.one_of(
    st.binary(max_size=60).map(lambda tail: b"/" + tail),
    st.text("/\\.%25eE2fFcC0aApPiI \x00", max_size=40).map(lambda tail: ("/" + tail).encode()),
)


def encoded(path: str, rounds: int) -> str:
    for _ in range(rounds):
        path = quote(path, safe="/")
    return path


@given(PLAIN, st.integers(0, 3))
def test_encoding_a_path_several_times_changes_nothing(path: str, rounds: int) -> None:
    assert normalise(encoded(path, rounds)) == normalise(path) == path


@given(PLAIN, st.sampled_from(["/api", "/API", "//api/", "/./api", "/x/../api", "/%61pi", "/api/aPi", "\\api"]))
def test_the_prefix_goes_however_it_is_written(path: str, prefix: str) -> None:
    assert normalise(prefix + path) == path


@given(PLAIN, st.sampled_from(["/", "//", "/.", "/./", "/%2e", "/%2E/", ".", "..", " ", "%20", "/x/..", "\\", "/%5c"]))
def test_what_adds_nothing_at_the_end_goes(path: str, tail: str) -> None:
    if path == "/" and not tail.startswith(("/", "\\")):
        return
    assert normalise(path + tail) == path


@given(ANYTHING)
def test_a_path_is_refused_or_has_one_form_that_stays(raw: bytes) -> None:
    try:
        path = normalise(raw)
    except PathError:
        return
    assert normalise(path) == path and path.startswith("/")
    names = path[1:].split("/")
    assert not {"..", "."} & set(names) and "\\" not in path and "\x00" not in path and names[0].lower() != "api"
    assert path == "/" or all(names)


@given(ANYTHING)
def test_a_server_is_asked_for_the_path_that_was_decided_on(raw: bytes) -> None:
    try:
        sent = upstream(raw)
    except PathError:
        return
    assert normalise(sent) == normalise(raw)
    assert sent.isascii() and not {"", ".", ".."} & set(sent[1:].split("/")[:-1])


@given(ANYTHING, st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"]))
def test_nobody_gets_in_by_the_way_a_path_is_written(raw: bytes, method: str) -> None:
    try:
        path = normalise(raw)
    except PathError:
        return
    decision = decide(None, method, path)
    assert not decision.allowed or path in ("/health", "/auth/login", "/auth/setup", "/auth/verify")


@pytest.mark.parametrize(
    "raw",
    [
        "/prompt",
        "/api/prompt",
        "/api/api/prompt",
        "//prompt",
        "/%70rompt",
        "/%2570rompt",
        "/%252570rompt",
        "/api%2fprompt",
        "/x/..%2fprompt",
        "\\prompt",
        "/api\\prompt",
        "/prompt.",
        "/prompt%20",
        "/prompt/.",
        "/PROMPT",
        "/aPi/Prompt/",
        b"/prompt",
    ],
)
def test_every_alias_of_a_route_needs_its_scope(raw: str | bytes) -> None:
    assert route_scope("POST", normalise(raw)) == "jobs:write"
    assert canonical(normalise(raw)) == "/prompt"


@pytest.mark.parametrize(
    "raw",
    [
        "/a%00b",
        "/a\nb",
        b"/%c0%af",
        b"/%c0%ae%c0%ae/prompt",
        b"/%ff",
        b"/%ed%a0%80",
        "/../x",
        "/%2e%2e/x",
        "/...",
        "/a/. ./b",
        "prompt",
        "",
        "*",
        "http://host/prompt",
        "/" + "a" * LONGEST,
        "/%" + "25" * 20 + "41",
        "/\ud800",
    ],
)
def test_a_path_without_an_honest_reading_is_refused(raw: str | bytes) -> None:
    with pytest.raises(PathError):
        normalise(raw)
    with pytest.raises(PathError):
        upstream(raw)


def test_names_of_files_keep_their_case_and_their_slashes_stay_encoded() -> None:
    raw = "/api/UserData/workflows%2FMy%20File.json"
    assert canonical(normalise(raw)) == "/userdata/workflows/My File.json"
    assert upstream("/api/userdata/workflows%2FMy%20File.json") == "/api/userdata/workflows%2FMy%20File.json"
