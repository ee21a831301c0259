"""What sources say of a file, against a simulated hub."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from comfyops.errors import DownloadError, GatedModelError, UntrustedSourceError
from comfyops.models.sources import SOURCES, Web, civitai, describe, huggingface, source_of
from comfyops.models.trust import Trust, parse_hosts, place_of
from comfyops.testing.model_hub import Faults, ModelHub
from tests.unit.models.shelf import HF, sha, web, weights

DATA = weights(5000)
NAME = "org/repo/deep/a.safetensors"
URL = f"{HF}/org/repo/resolve/main/deep/a.safetensors"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (URL, "huggingface"),
        ("https://hf.co/o/r/resolve/abc/x.gguf", "huggingface"),
        ("https://huggingface.co/o/r", "url"),
        ("https://civitai.com/api/download/models/12?type=Model", "civitai"),
        ("https://civitai.com/models/5/name?modelVersionId=12", "civitai"),
        ("https://civitai.com/models/5", "civitai"),
        ("https://github.com/o/r/releases/download/v/a.pth", "url"),
        ("file:///data/a.safetensors", "local"),
    ],
)
def test_each_address_has_its_kind_of_source(url: str, kind: str) -> None:
    assert source_of(url) == kind and kind in SOURCES


def test_an_address_that_no_source_takes_is_refused() -> None:
    with pytest.raises(UntrustedSourceError):
        source_of("ftp://host/a")


def test_hugging_face_says_size_hash_and_commit_in_one_request_without_the_file() -> None:
    with ModelHub({NAME: DATA}) as hub:
        remote = describe(URL, web(hub))
        assert (remote.size, remote.sha256, remote.revision) == (len(DATA), sha(DATA), hub.commit)
        assert remote.file == "a.safetensors"
        deadline = time.monotonic() + 10
        while not hub.asked() and time.monotonic() < deadline:  # it is noted after the answer was sent
            time.sleep(0.01)
        assert [(item.role, item.method) for item in hub.asked()] == [("hub", "HEAD")]


def test_a_token_is_sent_to_the_hub_and_makes_a_gated_file_readable() -> None:
    with ModelHub({NAME: DATA}, Faults(gated="GatedRepo", token="secret")) as hub:
        with pytest.raises(GatedModelError) as caught:
            describe(URL, web(hub))
        assert caught.value.facts["page"] == f"{HF}/org/repo" and "HF_TOKEN" in caught.value.hint
        own, plain = parse_hosts(hub.endpoint)
        trust = Trust(own, plain, {place_of(hub.endpoint): "secret"})
        assert describe(URL, web(hub, trust=trust)).sha256 == sha(DATA)
    assert "secret" in str([item.token for item in hub.asked()])


def test_a_repository_that_is_not_shown_and_a_file_that_is_gone_are_told_apart() -> None:
    with ModelHub({NAME: DATA}, Faults(gated="RepoNotFound", token="secret")) as hub:
        with pytest.raises(DownloadError, match="knows no repository org/repo"):
            describe(URL, web(hub))
        hub.faults = Faults()
        with pytest.raises(DownloadError, match="no longer there"):
            describe(f"{HF}/org/repo/resolve/main/other.safetensors", web(hub))


def test_what_may_pass_is_tried_again_and_what_does_not_is_said() -> None:
    busy = tuple(("hub", status, {"Retry-After": "0"}) for status in (429, 503))
    with ModelHub({NAME: DATA}, Faults(statuses=busy)) as hub:
        assert describe(URL, web(hub)).size == len(DATA)
        hub.faults = Faults(always=("hub", 503))
        with pytest.raises(DownloadError, match="answers 503"):
            describe(URL, web(hub, attempts=2))


def test_no_answer_at_all_is_said() -> None:
    with ModelHub({NAME: DATA}) as hub:
        asks = web(hub, attempts=2)
    with pytest.raises(DownloadError, match="cannot be asked"):
        describe(URL, asks)
    with pytest.raises(DownloadError, match="offline"):
        describe(URL, replace(asks, offline=True))


def test_people_sent_in_circles_are_not_followed_for_ever() -> None:
    with ModelHub({NAME: DATA}, Faults(redirects=True)) as hub, pytest.raises(DownloadError, match="without end"):
        describe(URL, web(hub))


def test_a_redirect_to_a_host_that_is_not_trusted_is_not_followed() -> None:
    with ModelHub({NAME: DATA}) as hub:
        own, plain = parse_hosts(hub.endpoint)  # not where it stores its files
        asks = web(hub, trust=Trust(own, plain))
        assert describe(URL, asks).size == len(DATA), "the hub itself says everything"
        with pytest.raises(UntrustedSourceError):
            describe(hub.civitai_url(NAME), asks)


def test_civitai_says_size_hash_and_name() -> None:
    with ModelHub({NAME: DATA}) as hub:
        number = hub.files[NAME].civitai_id
        for url in (
            f"https://civitai.com/api/download/models/{number}",
            f"https://civitai.com/models/1?modelVersionId={number}",
        ):
            remote = describe(url, web(hub))
            assert (remote.size, remote.sha256) == (len(DATA), sha(DATA))
            assert remote.url.endswith(f"/api/download/models/{number}") and remote.file == "a.safetensors"
        with pytest.raises(DownloadError, match="knows no version"):
            describe("https://civitai.com/api/download/models/1", web(hub))


def test_a_plain_address_says_its_size_and_nobody_its_hash() -> None:
    with ModelHub({NAME: DATA}) as hub:
        remote = describe(hub.plain_url(NAME), web(hub))
        assert (remote.size, remote.sha256) == (len(DATA), None)
        with pytest.raises(DownloadError, match=r"not there \(404\)"):
            describe(hub.endpoint + "/plain/none", web(hub))


def test_addresses_of_the_hub_can_be_pinned() -> None:
    assert huggingface.at_revision(URL, "refs/pr/1").startswith(f"{HF}/org/repo/resolve/refs%2Fpr%2F1/")
    assert "/resolve/%5Cg%3C9%3E/" in huggingface.at_revision(URL, r"\g<9>"), "no group of a pattern"
    assert huggingface.at_revision(URL, "abc") == f"{HF}/org/repo/resolve/abc/deep/a.safetensors"
    assert huggingface.page(URL) == f"{HF}/org/repo" and huggingface.repository("https://x/y") == ""


GOOD_FILE = {"name": "a.safetensors", "sizeKB": 2.5, "primary": True, "hashes": {"SHA256": "AB" * 32}}


@pytest.mark.parametrize(
    ("body", "size", "sha256"),
    [
        ({"files": [GOOD_FILE]}, 2560, "ab" * 32),
        ({"files": [{**GOOD_FILE, "sizeKB": float("inf")}]}, None, "ab" * 32),
        ({"files": [{**GOOD_FILE, "sizeKB": float("nan")}]}, None, "ab" * 32),
        ({"files": [{**GOOD_FILE, "sizeKB": -1}]}, None, "ab" * 32),
        ({"files": [{**GOOD_FILE, "sizeKB": "5", "hashes": {"SHA256": 5}}]}, None, None),
        ({"files": [7, None, {**GOOD_FILE, "hashes": [], "metadata": 3}]}, 2560, None),
    ],
)
def test_what_civitai_says_oddly_is_not_believed(body: object, size: int | None, sha256: str | None) -> None:
    with answering(json.dumps(body).encode()) as asks:
        remote = describe("https://civitai.com/api/download/models/5", asks)
        assert (remote.size, remote.sha256) == (size, sha256)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"{", b"null", b'{"files": 5}', b'{"files": {"a": 1}}', b"[]", b"\xff"]
)
def test_an_answer_of_civitai_that_makes_no_sense_is_an_error_in_words(body: bytes) -> None:
    with answering(body) as asks, pytest.raises(DownloadError):
        describe("https://civitai.com/api/download/models/5", asks)


@contextmanager
def answering(body: bytes) -> Iterator[Web]:
    """What asks a server that gives this answer to everything, in the place of Civitai."""

    class Routes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written."""

    with HTTPServer(("127.0.0.1", 0), Routes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        own, plain = parse_hosts(address)
        try:
            yield Web(Trust(own, plain), attempts=1, endpoints={civitai.HOME: address})
        finally:
            server.shutdown()
            thread.join()
