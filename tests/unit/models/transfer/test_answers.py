"""Verdicts on answers of servers: which range came, what failed, and what people are told."""

from __future__ import annotations

import pytest

from comfyops.errors import DownloadError, GatedModelError
from comfyops.models.transfer.answers import Answer, judge, refusal, sha256_in, shown, total_in

ASKED = (100, 200)
URL = "https://store.example/a.bin?Signature=secret"
GOOD = {"content-range": "bytes 100-199/1000", "content-length": "100", "etag": '"a"'}


def answer(status: int = 206, **changes: str) -> Answer:
    """An answer to ASKED, with other headers ("content_range" for "content-range")."""
    headers = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return Answer(status, headers, URL)


def kind(given: Answer, etag: str | None = '"a"') -> str:
    """The verdict's kind, "read" where the body is to be read."""
    outcome = judge(given, ASKED, 1000, etag)
    return "read" if outcome is None else outcome.kind


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(), "read"),
        (answer(content_range="bytes 100-199/*"), "read"),
        (answer(content_range="Bytes 100-199/1000"), "read"),
        (answer(content_range="bytes 100-149/1000"), "read"),
        (answer(content_range="bytes 101-200/1000"), "lied"),
        (answer(content_range="bytes 100-50/1000"), "lied"),
        (answer(content_range="bytes 100-199/" + "9" * 5000), "lied"),
        (answer(content_range="nonsense"), "lied"),
        (answer(content_range="bytes 100-199/999"), "changed"),
        (answer(etag='"b"'), "changed"),
        (answer(etag='W/"a"'), "read"),
        (answer(content_encoding="gzip"), "refused"),
        (answer(content_encoding="identity, BR"), "refused"),
        (answer(content_encoding="Identity"), "read"),
        (answer(content_encoding="UTF-8"), "read"),
        (answer(content_type="text/html; charset=utf-8"), "refused"),
        (answer(200, content_length="1000"), "whole"),
        (answer(200, content_length="1001"), "changed"),
        (answer(200, content_length="1000", etag='"b"'), "changed"),
        (answer(200, content_type="text/html"), "refused"),
        (answer(416), "changed"),
        (answer(401), "expired"),
        (answer(403), "expired"),
        (answer(404), "expired"),
        (answer(410), "expired"),
        (answer(429), "busy"),
        (answer(503), "busy"),
        (answer(500), "again"),
        (answer(502), "again"),
        (answer(302, location="https://other.example/"), "moved"),
        (answer(400), "refused"),
    ],
)
def test_each_answer_has_its_verdict(given: Answer, verdict: str) -> None:
    assert kind(given) == verdict


def test_the_whole_file_is_read_where_the_whole_file_was_asked_for() -> None:
    assert judge(answer(200, content_length="1000"), (0, 1000), 1000, None) is None


def test_a_first_answer_needs_no_etag() -> None:
    assert kind(answer(), etag=None) == "read"
    assert judge(Answer(206, {"content-range": "bytes 100-199/1000"}, URL), ASKED, 1000, '"a"') is None


def test_a_busy_server_says_how_long() -> None:
    outcome = judge(answer(429, retry_after="7"), ASKED, 1000, None)
    assert outcome is not None and outcome.wait == 7.0


def test_no_error_shows_a_signature_or_a_login() -> None:
    outcome = judge(answer(400), ASKED, 1000, None)
    assert outcome is not None and "secret" not in str(outcome.error)
    assert shown("https://me:secret@host.example:8443/a/b?token=x#y") == "https://host.example:8443/a/b"


def test_a_gated_file_says_which_page_to_visit_and_which_variable_to_set() -> None:
    url = "https://huggingface.co/org/repo/resolve/main/a.safetensors"
    error = refusal(Answer(401, {"x-error-code": "GatedRepo"}, url))
    assert isinstance(error, GatedModelError) and "gated" in error.message
    assert "https://huggingface.co/org/repo " in error.hint and "HF_TOKEN" in error.hint
    error = refusal(Answer(401, {}, "https://civitai.com/api/download/models/5"))
    assert isinstance(error, GatedModelError) and "CIVITAI_API_TOKEN" in error.hint


def test_a_file_that_is_not_there_is_said_to_be_missing() -> None:
    assert isinstance(refusal(Answer(404, {}, URL)), DownloadError)
    assert "does not exist" in refusal(Answer(404, {}, URL)).message


def test_a_hash_is_read_from_hugging_faces_etags_only() -> None:
    assert sha256_in('"' + "A" * 64 + '"') == "a" * 64
    assert sha256_in('W/"' + "a" * 64 + '"') == "a" * 64
    assert sha256_in('"' + "a" * 40 + '"') is None and sha256_in(None) is None
    assert total_in("bytes 0-0/1234") == 1234 and total_in("bytes 0-0/*") is None and total_in(None) is None
