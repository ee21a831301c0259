"""Models in object storage: signed addresses, checked by a store that knows the secret; and public buckets."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from comfyops.errors import DownloadError, GatedModelError, MissingExtraError, UntrustedSourceError, UsageError
from comfyops.models import storage
from comfyops.models.entry import parse
from comfyops.models.provision import Outcome, Provision
from comfyops.models.sources import Web, buckets, describe, source_of
from comfyops.models.transfer.request import TransferSettings
from comfyops.models.trust import Trust
from comfyops.testing.model_hub import Faults
from comfyops.testing.object_store import ObjectStore
from tests.unit.models.shelf import entry, sha, wanted, weights

DATA = weights(3_000_000)
NAME = "weights/deep er/a+b ü.safetensors"
URL = "s3://weights/deep%20er/a%2Bb%20%C3%BC.safetensors"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with ObjectStore({NAME: DATA}) as running:
        for name, value in running.variables.items():
            monkeypatch.setenv(name, value)
        yield running


def asking(store: ObjectStore, options: str = "", name: str = "weights") -> Web:
    """What asks the store's bucket."""
    setting = f"s3://{name}?endpoint={store.endpoint}&region={store.region}{options}"
    return Web(Trust(), first_pause=0.01, buckets=buckets.parse(setting))


def noted(store: ObjectStore) -> list[str]:
    """What was asked of the store, which notes it after it has answered."""
    deadline = time.monotonic() + 10
    while not store.asked() and time.monotonic() < deadline:
        time.sleep(0.01)
    return [item.method for item in store.asked()]


def fetched(root: Path, web: Web, **fields: object) -> Outcome:
    """The outcome of having the store's model in a folder."""
    transfer = TransferSettings(allow=web.trust.allow, token_for=web.trust.token_for, attempts=3)
    work = Provision(storage.of_folder(root), web, transfer)
    item = entry(urls=(URL,), **fields)
    plan = work.plan(work.check(wanted(item)))
    assert not plan.blocked, plan.blocked
    (outcome,) = work.fetch(plan.fetch)
    return outcome


def test_an_object_is_described_by_one_signed_question(store: ObjectStore) -> None:
    assert source_of(URL) == "objects"
    remote = describe(URL, asking(store))
    assert (remote.size, remote.sha256, remote.file) == (len(DATA), None, "a+b ü.safetensors")
    assert remote.etag == remote.revision == store.files[NAME].etag
    assert noted(store) == ["HEAD"]
    assert "Signature" not in repr(remote), "a signed address is never shown"


def test_an_object_is_fetched_in_ranges_with_one_question_and_no_secret_on_the_way(
    store: ObjectStore, tmp_path: Path
) -> None:
    outcome = fetched(tmp_path, asking(store))
    assert outcome.ok and outcome.trust_on_first_use and Path(outcome.path).read_bytes() == DATA
    assert [item.method for item in store.asked()].count("HEAD") == 1
    assert all(item.range for item in store.asked(method="GET"))
    assert store.secret_key not in str(store.requests) and not any(item.token for item in store.asked())


def test_metadata_of_the_uploader_promises_a_hash(store: ObjectStore, tmp_path: Path) -> None:
    store.metadata[NAME] = {"sha256": sha(DATA)}
    outcome = fetched(tmp_path, asking(store))
    assert outcome.sha256 == sha(DATA) and not outcome.trust_on_first_use


def test_dropped_connections_and_addresses_that_run_out_are_got_over(store: ObjectStore, tmp_path: Path) -> None:
    store.faults = Faults(drop_after=(100_000, 600_000), throttle=400_000.0, signed_seconds=2.0)
    outcome = fetched(tmp_path, asking(store), size=len(DATA), sha256=sha(DATA))
    assert outcome.ok, outcome
    assert len({item.path for item in store.asked(method="GET")}) > 1, "the address was signed anew"


def test_an_object_that_changes_in_the_middle_is_begun_anew(store: ObjectStore, tmp_path: Path) -> None:
    store.faults = Faults(new_bytes_after=1)
    outcome = fetched(tmp_path, asking(store), file="a.onnx")
    assert outcome.ok and outcome.sha256 == sha(store.files[NAME].data) != sha(DATA)


def test_wrong_bytes_are_never_placed(store: ObjectStore, tmp_path: Path) -> None:
    store.faults = Faults(wrong_at=1_000_000)
    outcome = fetched(tmp_path, asking(store), size=len(DATA), sha256=sha(DATA))
    assert (outcome.ok, outcome.code) == (False, "integrity") and not Path(outcome.path).exists()


def test_a_bucket_that_nobody_named_is_not_asked(store: ObjectStore) -> None:
    for url in ("s3://other/a.safetensors", "gs://weights/a.safetensors", "s3://weights", "s3://weights/a?versionId=1"):
        with pytest.raises(UntrustedSourceError):
            describe(url, asking(store))
    with pytest.raises(UntrustedSourceError) as caught:
        describe("s3://other/a.safetensors", asking(store))
    assert caught.value.hint == "Set COMFYOPS_MODEL_BUCKETS=s3://other." and not store.asked()


def test_wrong_credentials_and_missing_objects_are_said(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="s3://weights/none is not there"):
        describe("s3://weights/none", asking(store))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(GatedModelError) as caught:
        describe(URL, asking(store))
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint and "Signature" not in str(caught.value)


def test_the_region_that_a_bucket_is_in_is_said(store: ObjectStore) -> None:
    store.faults = Faults(statuses=(("store", 301, {"x-amz-bucket-region": "eu-9"}),))
    with pytest.raises(DownloadError, match="in the region eu-9"):
        describe(URL, asking(store))


def test_a_public_bucket_needs_no_credentials_and_no_further_package(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, "obstore")
    store.public = frozenset({"weights"})
    assert fetched(tmp_path, asking(store, "&anonymous")).ok
    assert not any("?" in item.path for item in store.asked())


def test_without_the_package_a_signed_bucket_says_what_to_install(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "obstore")
    with pytest.raises(MissingExtraError) as caught:
        describe(URL, asking(store))
    assert "comfyops[stores]" in caught.value.hint


def test_addresses_of_azure_and_google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    named = buckets.parse(
        "az://cont, gs://open?anonymous, az://pub?anonymous&account=you, s3://bk?anonymous&region=eu-1"
    )
    bucket, key = named.find("az://cont/vae/a.safetensors")
    for method in ("GET", "HEAD"):
        parts = urlsplit(bucket.address(method, key))  # type: ignore[arg-type]
        assert (parts.hostname, parts.path) == ("me.blob.core.windows.net", "/cont/vae/a.safetensors")
        assert parse_qs(parts.query)["sp"] == ["r"], "it may be read, and nothing else"
    plain = [
        found.address("GET", path) for found, path in map(named.find, ("gs://open/a b", "az://pub/a", "s3://bk/a"))
    ]
    assert plain == [
        "https://storage.googleapis.com/open/a%20b",
        "https://you.blob.core.windows.net/pub/a",
        "https://s3.eu-1.amazonaws.com/bk/a",
    ]


def test_addresses_of_google_are_signed_with_the_accounts_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret = key.private_bytes(*form).decode()
    account = {"type": "service_account", "private_key": secret, "private_key_id": "1", "client_email": "a@b.test"}
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    bucket, name = buckets.parse("gs://weights").find("gs://weights/deep%20er/a.safetensors")
    for method in ("GET", "HEAD"):
        parts = urlsplit(bucket.address(method, name))  # type: ignore[arg-type]
        assert (parts.hostname, parts.path) == ("storage.googleapis.com", "/weights/deep%20er/a.safetensors")
        query, _, signature = parts.query.partition("&X-Goog-Signature=")
        asked = "\n".join((method, parts.path, query, "host:storage.googleapis.com\n", "host", "UNSIGNED-PAYLOAD"))
        said = {field: values[0] for field, values in parse_qs(query).items()}
        scope = said["X-Goog-Credential"].partition("/")[2]
        digest = hashlib.sha256(asked.encode()).hexdigest()
        text = "\n".join(("GOOG4-RSA-SHA256", said["X-Goog-Date"], scope, digest))
        key.public_key().verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_offline_nothing_is_signed_and_nobody_asked(store: ObjectStore) -> None:
    with pytest.raises(DownloadError, match="offline"):
        describe(URL, dataclasses.replace(asking(store), offline=True))
    assert not store.asked()


@pytest.mark.parametrize(
    "text",
    [
        *("weights", "http://weights", "s3://", "s3://a/b", "s3://weights?colour=red", "gs://w?endpoint=http://h:1"),
        *("s3://w?endpoint=host:9000", "az://w?anonymous", "s3://[::1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="model_buckets"):
        buckets.parse(text)


def test_secrets_stay_out_of_what_is_shown() -> None:
    named = buckets.parse("s3://bk?endpoint=http://127.0.0.1:9&region=r")
    assert all(dataclasses.is_dataclass(bucket) for bucket in named.allowed.values())
    assert parse({"file": "a.safetensors", "folder": "vae", "url": "s3://a/k.safetensors"}, "x").urls == (
        "s3://a/k.safetensors",
    )


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """A Python that lacks a package."""
    real = builtins.__import__

    def lacking(name: str, *rest: object, **named: object) -> object:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", lacking)
