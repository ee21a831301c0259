"""Manifests of other tools that name packs with their commits."""

from __future__ import annotations

from typing import Any

import pytest

from comfyops.deploy.packs.lists import requests
from comfyops.deploy.packs.request import PackRequest
from comfyops.errors import NodePackError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = "https://github.com/a/Fine-Pack"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"nodes": {"fine": {"url": URL, "commit": COMMIT, "version": "1"}}}, PackRequest("fine", URL, COMMIT)),
        ({"nodes": {"fine": {"version": "1.2"}}}, PackRequest("fine", "", "1.2")),
        ({"custom_nodes": {"Fine": {"url": URL, "hash": COMMIT}}}, PackRequest("Fine", URL, COMMIT)),
        ({"custom_nodes": [{"url": URL, "commit_hash": COMMIT}]}, PackRequest("Fine-Pack", URL, COMMIT)),
        ({"git_custom_nodes": {URL: {"hash": COMMIT}}}, PackRequest("Fine-Pack", URL, COMMIT)),
        ({"cnr_custom_nodes": {"fine": "2.0.1"}}, PackRequest("fine", "", "2.0.1")),
    ],
)
def test_each_manifest_gives_its_packs(data: Any, wanted: PackRequest) -> None:
    assert requests(data, "x") == (wanted,)


def test_what_is_switched_off_is_left_out() -> None:
    off = {"url": URL, "hash": COMMIT, "commit_hash": COMMIT, "disabled": True}
    data = {"custom_nodes": [off], "git_custom_nodes": {URL: off}}
    assert requests(data, "x") == ()


@pytest.mark.parametrize(
    "data",
    [
        *([], {}, {"models": []}, {"custom_nodes": [{"url": "ext::sh"}]}, {"custom_nodes": {"../x": {}}}),
        *({"cnr_custom_nodes": {"a/../b": "1"}}, {"custom_nodes": {"x": {"url": "--upload-pack=x"}}}),
        {"custom_nodes": {"x": {"url": URL, "hash": "--force"}}},
    ],
)
def test_what_is_no_manifest_or_names_no_pack_is_refused(data: Any) -> None:
    with pytest.raises(NodePackError):
        requests(data, "x")
