"""Buckets of object storage that models may come from, and the web addresses of their objects.

A person names them in the setting `model_buckets`, each perhaps with options as a query:

    s3://weights, s3://mine?endpoint=http://10.0.0.5:9000&region=eu-west-1, gs://public?anonymous, az://cont?account=me

What is not named is never asked. An object's address is signed on this machine (obstore, the extra `stores`), with the
credentials that AWS_*, GOOGLE_* and AZURE_* variables or the machine's own role give; the signature is all that leaves,
and it goes to the bucket's endpoint only. With `anonymous` nothing is signed and nothing is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from comfyops.errors import DownloadError, MissingExtraError, UntrustedSourceError, UsageError

SCHEMES = ("s3", "gs", "az")
"""Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage."""

Method = Literal["GET", "HEAD"]

SIGNED_FOR = timedelta(hours=1)
"""How long an address is valid; it is signed anew when a server says that it no longer is."""

_OPTIONS = {
    "s3": frozenset({"endpoint", "region", "anonymous"}),
    "gs": frozenset({"endpoint", "anonymous"}),
    "az": frozenset({"endpoint", "account", "anonymous"}),
}
_NAME = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{1,221}")
_KEYS = {"s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}


@dataclass(frozen=True)
class Bucket:
    """One bucket (in Azure a container), and how it is asked. Empty texts leave it to the environment."""

    scheme: str
    name: str
    endpoint: str = ""
    region: str = ""
    account: str = ""
    anonymous: bool = False

    @property
    def url(self) -> str:
        """As a person writes it."""
        return f"{self.scheme}://{self.name}"

    @property
    def credentials(self) -> str:
        """The variables that its credentials are taken from, for hints."""
        return _KEYS.get(self.scheme, "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")

    def address(self, method: Method, key: str) -> str:
        """The web address of an object, signed for "GET" or "HEAD" where the bucket is not anonymous.

        Raises MissingExtraError without obstore, DownloadError where it cannot be signed.
        """
        return self._plain(key) if self.anonymous else self._signed(method, key)

    def _plain(self, key: str) -> str:
        home = {
            "s3": f"https://s3.{self.region or 'us-east-1'}.amazonaws.com",
            "gs": "https://storage.googleapis.com",
            "az": f"https://{self.account}.blob.core.windows.net",
        }
        return f"{self.endpoint.rstrip('/') or home[self.scheme]}/{self.name}/{quote(key)}"

    def _signed(self, method: Method, key: str) -> str:
        try:
            from obstore import sign  # Rust, and needed for object storage only
            from obstore.exceptions import BaseError
        except ModuleNotFoundError as error:
            words = f"{self.url} needs obstore, which is not installed."
            raise MissingExtraError(words, hint="pip install 'comfyops[stores]'") from error
        try:
            # Azure's signatures hold for both methods, and obstore makes none for HEAD.
            return sign(self._store, "GET" if self.scheme == "az" else method, key, SIGNED_FOR)
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0][:300]
            hint = f"Set {self.credentials}, or name the bucket with ?anonymous where it is public."
            raise DownloadError(
                f"{self.url} cannot be asked: no signature could be made ({reason}).", hint=hint
            ) from error

    @cached_property
    def _store(self) -> Any:
        """Obstore's own, kept: a machine's role is then asked for once and not for each address."""
        from obstore.store import AzureStore, GCSStore, S3Store

        quick: Any = {"max_retries": 1, "retry_timeout": timedelta(seconds=10)}
        if self.scheme == "s3":
            given = {"endpoint": self.endpoint, "region": self.region}
            return S3Store(self.name, config=_said(given), retry_config=quick)  # type: ignore[arg-type]
        if self.scheme == "gs":
            return GCSStore(self.name, retry_config=quick)
        given = {"endpoint": self.endpoint, "account_name": self.account}
        return AzureStore(self.name, config=_said(given), retry_config=quick)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Buckets:
    """The buckets that may be asked, by their addresses."""

    allowed: Mapping[str, Bucket] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, url: str) -> tuple[Bucket, str]:
        """The bucket of an object's address (`s3://bucket/key`), and the object's key.

        Raises UntrustedSourceError where no setting names the bucket, or the address is none of an object.
        """
        parts = urlsplit(url)
        key = unquote(parts.path.removeprefix("/"))
        if parts.scheme not in SCHEMES or not key or parts.query or parts.username or parts.port:
            raise UntrustedSourceError(f"{url.partition('?')[0][:200]} is no address of an object.")
        bucket = self.allowed.get(f"{parts.scheme}://{parts.netloc}")
        if bucket is None:
            words = f"{url[:200]} is not asked for a model: no setting names its bucket."
            raise UntrustedSourceError(words, hint=f"Set COMFYOPS_MODEL_BUCKETS={parts.scheme}://{parts.netloc}.")
        return bucket, key


def parse(text: str) -> Buckets:
    """The buckets of the setting `model_buckets`.

    Raises UsageError naming what is wrong with it.
    """
    found = [_bucket(item) for part in text.split(",") if (item := part.strip())]
    return Buckets({bucket.url: bucket for bucket in found})


def _bucket(text: str) -> Bucket:
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        parts, options = urlsplit(""), {}
    known = _OPTIONS.get(parts.scheme, frozenset())
    if not known or not _NAME.fullmatch(parts.netloc) or parts.path.strip("/"):
        raise _wrong(text, "it is no bucket", "It looks like s3://weights, gs://weights or az://container.")
    if strange := sorted(options.keys() - known):
        raise _wrong(text, f"{strange[0]!r} is no option of it", f"There are {', '.join(sorted(known))}.")
    endpoint, anonymous = options.get("endpoint", ""), "anonymous" in options
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise _wrong(text, "its endpoint is no web address", "It looks like https://minio.example:9000.")
    if endpoint and parts.scheme == "gs" and not anonymous:
        raise _wrong(text, "an endpoint of gs:// goes with ?anonymous only", "Google's signatures name Google's host.")
    if parts.scheme == "az" and anonymous and not (endpoint or options.get("account")):
        raise _wrong(text, "its account is not named", "Add ?account=NAME.")
    named = {name: options.get(name, "") for name in ("region", "account")}
    return Bucket(parts.scheme, parts.netloc, endpoint, anonymous=anonymous, **named)


def _wrong(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"The setting 'model_buckets' is wrong: {text.partition('?')[0][:120]}: {why}.", hint=hint)


def _said(options: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if value}
