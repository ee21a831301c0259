"""Catalogs and lists from anywhere: taken, or refused with an error of ours; never a place outside of the folder."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from comfyops.errors import ComfyOpsError
from comfyops.models import lists, storage
from comfyops.models.catalog import Catalog, listing
from comfyops.models.sources import source_of
from comfyops.models.trust import Trust

NAMES = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "x.safetensors", "~", "\0", "con.pt"]), max_size=5).map(
        "/".join
    ),
)
URLS = st.one_of(st.text(max_size=30), st.text(max_size=20).map("https://".__add__), st.just("http://[::1"))
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), NAMES, URLS, st.lists(URLS, max_size=2))
FIELDS = st.sampled_from(["file", "folder", "url", "urls", "size", "sha256", "gated", "required_in", "note", "other"])
ROOT = Path("/models")


@given(st.dictionaries(FIELDS, VALUES), NAMES, NAMES, URLS)
def test_an_entry_from_anywhere_stays_in_its_folder(more: dict[str, object], file: str, folder: str, url: str) -> None:
    for item in (
        more,
        {**more, "file": file, "folder": "loras", "url": url},
        {**more, "file": "a.pt", "folder": folder},
    ):
        try:
            (entry,) = listing({"models": [item]}, "x").models
        except ComfyOpsError:
            continue
        target = storage.of_folder(ROOT).target(entry)
        assert target.is_relative_to(ROOT) and ".." not in target.parts and target != ROOT
        for address in entry.urls:
            try:
                source_of(address)
                Trust(resolve=lambda host: ()).allow(address)
            except ComfyOpsError:
                continue


ITEM_FIELDS = st.sampled_from(["model", "url", "paths", "hashes", "type", "filename", "source", "sha256", "size"])
DEEP = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner), max_leaves=4
)
PATHS = st.lists(st.fixed_dictionaries({"path": NAMES}), max_size=2)


@given(st.lists(st.dictionaries(ITEM_FIELDS, DEEP | PATHS, max_size=6) | DEEP, max_size=3))
def test_a_manifest_from_anywhere_is_read_or_refused(tmp_path_factory: object, items: list[object]) -> None:
    file = tmp_path_factory.mktemp("x") / "manifest.json"  # type: ignore[attr-defined]
    file.write_text(json.dumps({"models": items}))
    for entry in lists.read(file, Catalog()).models:
        assert storage.of_folder(ROOT).target(entry).is_relative_to(ROOT)


@given(st.text(max_size=200))
def test_a_text_from_anywhere_is_read_or_refused(tmp_path_factory: object, text: str) -> None:
    file = tmp_path_factory.mktemp("x") / "models_links.txt"  # type: ignore[attr-defined]
    file.write_text("https://huggingface.co/o/r/resolve/main/a.safetensors " + text, encoding="utf-8", errors="replace")
    for entry in lists.read(file, Catalog()).models:
        assert storage.of_folder(ROOT).target(entry).is_relative_to(ROOT)
