"""Names and addresses of packs, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.deploy.packs.request import KNOWN, PackRequest, parse
from comfyops.errors import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("comfyui-kjnodes", PackRequest("comfyui-kjnodes")),
        ("comfyui-kjnodes@1.2.3", PackRequest("comfyui-kjnodes", "", "1.2.3")),
        ("a/b.git", PackRequest("b", "https://github.com/a/b.git")),
        (f"a/b@{COMMIT}", PackRequest("b", "https://github.com/a/b", COMMIT)),
        ("https://example.org/x/Pack.git@v1", PackRequest("Pack", "https://example.org/x/Pack.git", "v1")),
        ("https://me@example.org/x/Pack", PackRequest("Pack", "https://me@example.org/x/Pack")),
        ("https://example.org/x/Pack@feature/y", PackRequest("Pack", "https://example.org/x/Pack", "feature/y")),
        ("git@example.org:x/Pack", PackRequest("Pack", "git@example.org:x/Pack")),
        ("git@example.org:x/Pack@v1", PackRequest("Pack", "git@example.org:x/Pack", "v1")),
        ("ssh://git@example.org/x/Pack", PackRequest("Pack", "ssh://git@example.org/x/Pack")),
        ("file:///srv/Pack", PackRequest("Pack", "file:///srv/Pack")),
        ("http://127.0.0.1:80/Pack", PackRequest("Pack", "http://127.0.0.1:80/Pack")),
    ],
)
def test_a_pack_is_named_in_many_ways(text: str, wanted: PackRequest) -> None:
    assert parse(text) == wanted


def test_comfyui_login_is_known_with_its_repository_and_commit() -> None:
    url, commit = KNOWN["comfyui-login"]
    assert parse("comfyui-login") == PackRequest("ComfyUI-Login", url, commit)
    assert parse("ComfyUI-Login@main").pin == "main"
    assert parse("other/comfyui-login").url == "https://github.com/other/comfyui-login"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "--upload-pack=x",
            "ext::sh -c x",
            "http://example.org/x/y",
            "ftp://example.org/x",
            "../x",
            "a/../b",
            "/x",
        ),
        *("https://example.org/", "https://example.org/x/..", "C:\\x", "x@../y", "x y", "https://example.org/x\ny"),
    ],
)
def test_what_names_no_pack_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


@given(st.text(alphabet="ab./@:-\\~ \n", max_size=30))
def test_whatever_is_taken_names_one_folder(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert found.name and not {"/", "\\", "\n", ":"} & set(found.name) and found.name not in (".", "..")
    assert not found.url.startswith("-") and not found.pin.startswith("-")
