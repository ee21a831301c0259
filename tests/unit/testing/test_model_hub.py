"""The simulated hub speaks as Hugging Face and Civitai do."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from comfyops.testing.model_hub import Faults, ModelHub, http_date

NAME = "org/repo/vae/a.safetensors"
DATA = bytes(range(256)) * 40


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    """A hub with one file."""
    with ModelHub({NAME: DATA}) as running:
        yield running


def ask(url: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own; no redirect is followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connection):
        connection.request(method, f"{parts.path}?{parts.query}", body, named)
        with connection.getresponse() as response:
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def test_a_file_is_a_redirect_to_the_store_that_tells_size_hash_and_commit(hub: ModelHub) -> None:
    status, headers, _ = ask(hub.url(NAME), "HEAD")
    assert (status, headers["x-linked-size"], headers["x-repo-commit"]) == (302, str(len(DATA)), hub.commit)
    assert headers["x-linked-etag"] == f'"{hub.files[NAME].sha256}"' and headers["location"].startswith(hub.store)
    status, headers, body = ask(headers["location"], Range="bytes=10-19")
    assert (status, headers["content-range"], body) == (206, f"bytes 10-19/{len(DATA)}", DATA[10:20])


def test_ranges_follow_the_rules(hub: ModelHub) -> None:
    url = hub.signed(NAME)
    assert ask(url, Range="bytes=10000-")[2] == DATA[10000:]
    assert ask(url, Range="bytes=99999-")[0] == 416
    assert ask(url, Range="bytes=-10")[2] == DATA[-10:] and ask(url, Range="bytes=-0")[0] == 416
    for none in ("bytes=a-b", "bytes=5", "items=0-4", "bytes=0-4,8-9"):
        assert ask(url, Range=none)[::2] == (200, DATA), none
    assert ask(url, Range="bytes=0-4", If_Range='"other"')[0] == 200
    assert ask(url, Range="bytes=0-4", If_Range=hub.files[NAME].etag)[0] == 206


def test_the_store_refuses_tokens_and_old_addresses(hub: ModelHub) -> None:
    assert ask(hub.signed(NAME), Authorization="Bearer x")[0] == 400
    assert ask(hub.store + "/blob/" + NAME + "?Expires=1")[0] == 403


def test_metadata_comes_as_tree_as_paths_info_and_as_model(hub: ModelHub) -> None:
    api = f"{hub.endpoint}/api/models/org/repo"
    (entry,) = json.loads(ask(f"{api}/tree/main/vae")[2])
    assert (entry["path"], entry["size"], entry["lfs"]["oid"]) == (
        "vae/a.safetensors",
        len(DATA),
        hub.files[NAME].sha256,
    )
    body = json.dumps({"paths": ["vae/a.safetensors", "missing"]})
    assert json.loads(ask(f"{api}/paths-info/main", "POST", body, Content_Type="application/json")[2]) == [entry]
    assert json.loads(ask(api)[2])["siblings"] == [{"rfilename": "vae/a.safetensors"}]
    assert ask(f"{hub.endpoint}/api/models/org/other")[0] == 404


def test_facts_of_a_model_tell_of_its_files_where_they_are_asked_for(hub: ModelHub) -> None:
    api = f"{hub.endpoint}/api/models/org/repo"
    assert json.loads(ask(api)[2])["siblings"] == [{"rfilename": "vae/a.safetensors"}]
    (file,) = json.loads(ask(f"{api}?blobs=true")[2])["siblings"]
    assert (file["size"], file["lfs"]["sha256"]) == (len(DATA), hub.files[NAME].sha256)


def test_the_tree_is_that_of_a_folder_or_of_all_below_it() -> None:
    names = ("readme.md", "a/x.safetensors", "a/b/y.safetensors", "a/b/c/z.safetensors", "other/q.safetensors")
    with ModelHub({f"org/repo/{name}": name.encode() for name in names}) as hub:

        def tree(below: str) -> list[tuple[str, str]]:
            listed = json.loads(ask(f"{hub.endpoint}/api/models/org/repo/tree/main{below}")[2])
            return sorted((item["type"], item["path"]) for item in listed)

        assert tree("") == [("directory", "a"), ("directory", "other"), ("file", "readme.md")]
        assert tree("/a") == [("directory", "a/b"), ("file", "a/x.safetensors")]
        below = [("directory", "a/b"), ("directory", "a/b/c")]
        files = [("file", name) for name in ("a/b/c/z.safetensors", "a/b/y.safetensors", "a/x.safetensors")]
        assert tree("/a?recursive=1") == [*below, *files]
        assert {path for kind, path in tree("?recursive=true") if kind == "file"} == set(names)
        status, headers, _ = ask(f"{hub.endpoint}/api/models/org/repo/tree/main/none")
        assert (status, headers["x-error-code"]) == (404, "EntryNotFound")


def test_a_gated_repository_wants_its_token(hub: ModelHub) -> None:
    hub.faults = Faults(gated="GatedRepo", token="hf_x")
    status, headers, _ = ask(hub.url(NAME), "HEAD")
    assert (status, headers["x-error-code"]) == (401, "GatedRepo")
    assert ask(hub.url(NAME), "HEAD", Authorization="Bearer wrong")[0] == 403
    assert ask(hub.url(NAME), "HEAD", Authorization="Bearer hf_x")[0] == 302


def test_civitai_knows_versions_by_number_and_hash(hub: ModelHub) -> None:
    file = hub.files[NAME]
    for key in (str(file.civitai_id), file.sha256.upper(), file.sha256[:10]):
        route = "by-hash/" if len(key) > 8 and not key.isdigit() else ""
        version = json.loads(ask(f"{hub.endpoint}/api/v1/model-versions/{route}{key}")[2])
        assert version["files"][0]["hashes"]["SHA256"] == file.sha256.upper()
    status, headers, _ = ask(hub.civitai_url(NAME))
    assert status == 307 and ask(headers["location"], "HEAD")[0] == 403 and ask(headers["location"])[2] == DATA


def test_faults_show(hub: ModelHub) -> None:
    hub.faults = Faults(statuses=(("hub", 429, {"Retry-After": http_date(3)}),))
    assert [ask(hub.url(NAME), "HEAD")[0] for _ in range(2)] == [429, 302]
    hub.faults = Faults(wrong_at=3)
    assert ask(hub.signed(NAME))[2] == DATA[:3] + bytes([DATA[3] ^ 1]) + DATA[4:]
    hub.faults = Faults(drop_after=(100, 100))
    with pytest.raises(http.client.IncompleteRead):
        ask(hub.signed(NAME))
    assert [item.status for item in hub.asked("hub")] == [429, 302]
