"""Which addresses are asked, and who is told which token."""

from __future__ import annotations

import pytest

from comfyops.errors import UntrustedSourceError, UsageError
from comfyops.models.trust import Trust, checked_token, parse_hosts, place_of


def public(host: str) -> tuple[str, ...]:
    return ("8.8.8.8",)


TRUST = Trust(resolve=public)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/o/r/resolve/main/a.safetensors",
        "https://hf.co/o/r",
        "https://cdn-lfs.hf.co/x?Signature=1",
        "https://cdn-lfs-us-1.huggingface.co/x",
        "https://cas-bridge.xethub.hf.co/x",
        "https://civitai.com/api/download/models/1",
        "https://civitai-delivery-worker-prod.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com/x",
        "https://b2.civitai.com/file/x",
        "https://github.com/o/r/releases/download/v1/a.safetensors",
        "https://release-assets.githubusercontent.com/x",
        "https://HUGGINGFACE.CO:443/x",
    ],
)
def test_official_sources_and_their_storage_are_allowed(url: str) -> None:
    TRUST.allow(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://huggingface.co/x", "only https"),
        ("https://huggingface.co.evil.example/x", "not a known source"),
        ("https://evilhuggingface.co/x", "not a known source"),
        ("https://evil.example/huggingface.co", "not a known source"),
        ("https://huggingface.co@evil.example/x", "user name"),
        ("https://me:pw@huggingface.co/x", "user name"),
        ("https://huggingface.co:8443/x", "port 8443"),
        ("https://bucket.r2.cloudflarestorage.com/x", "not a known source"),
        ("https://127.0.0.1/x", "not a known source"),
        ("https://[::1]/x", "not a known source"),
        ("file:///etc/passwd", "no web address"),
        ("ftp://huggingface.co/x", "no web address"),
        ("https:///x", "no web address"),
        ("https://huggingface.co:99999/x", "no address"),
        ("nonsense", "no web address"),
    ],
)
def test_everything_else_is_refused_with_the_reason(url: str, words: str) -> None:
    with pytest.raises(UntrustedSourceError, match=words) as caught:
        TRUST.allow(url)
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "192.168.1.5", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "2001:0:808:808::80ff:fffe"),
    ],
)
def test_an_official_name_that_leads_into_a_private_network_is_refused(address: str) -> None:
    with pytest.raises(UntrustedSourceError, match="private network"):
        Trust(resolve=lambda host: (address,)).allow("https://huggingface.co/x")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_a_public_address_is_one_however_it_is_wrapped(address: str) -> None:
    Trust(resolve=lambda host: (address,)).allow("https://huggingface.co/x")


def test_a_host_of_ones_own_may_be_private_and_plain_only_where_it_says_so() -> None:
    own, plain = parse_hosts("mirror.example, http://127.0.0.1:8080 ,https://nas.local/")
    trust = Trust(own, plain, resolve=lambda host: ("10.0.0.1",))
    for url in (
        "https://mirror.example/x",
        "https://mirror.example:444/x",
        "http://127.0.0.1:8080/x",
        "https://nas.local/x",
    ):
        trust.allow(url)
    for url in ("http://mirror.example/x", "http://127.0.0.1:8081/x", "http://127.0.0.1/x", "https://127.0.0.1:81/x"):
        with pytest.raises(UntrustedSourceError):
            trust.allow(url)


@pytest.mark.parametrize("text", ["ftp://x", "a b", "x/y", "*", "x:y"])
def test_a_setting_that_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="model_hosts"):
        parse_hosts(text)


def test_a_token_goes_to_the_host_it_belongs_to_and_to_no_other() -> None:
    trust = Trust(tokens={"huggingface.co": "secret"})
    assert trust.token_for("huggingface.co") == trust.token_for("HuggingFace.co:443") == "secret"
    for other in (
        "cdn-lfs.huggingface.co",
        "hf.co",
        "huggingface.co:8080",
        "civitai.com",
        "huggingface.co.evil.example",
    ):
        assert trust.token_for(other) is None
    assert "secret" not in repr(trust)
    assert place_of("https://huggingface.co:443/x") == "huggingface.co" and place_of("http://[::1]:8/") == "[::1]:8"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://mirror.example/a", "COMFYOPS_MODEL_HOSTS=mirror.example"),
        ("https://mirror.example:8443/a", "COMFYOPS_MODEL_HOSTS=mirror.example:8443"),
        ("http://127.0.0.1:8080/a", "COMFYOPS_MODEL_HOSTS=http://127.0.0.1:8080"),
        ("https://me:pw@huggingface.co/a", "HF_TOKEN"),
    ],
)
def test_who_is_refused_is_told_what_would_allow_it(url: str, words: str) -> None:
    with pytest.raises(UntrustedSourceError) as caught:
        TRUST.allow(url)
    assert words in caught.value.hint
    if "=" in words:
        own, plain = parse_hosts(words.partition("=")[2])
        Trust(own, plain, resolve=public).allow(url)


def test_a_token_that_no_header_holds_is_a_usage_error_and_not_shown() -> None:
    assert checked_token(" hf_abc\n", "huggingface.co") == "hf_abc"
    for token in ("hf_a\nX-Evil: 1", "hf_á", "hf_令牌", "hf a", "hf_\x00"):
        with pytest.raises(UsageError, match="huggingface") as caught:
            checked_token(token, "huggingface.co")
        assert "hf_" not in caught.value.message
