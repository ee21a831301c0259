"""Outputs out: kept files copied to a folder, or to a bucket of S3, Google Cloud Storage or Azure.

A delivery is idempotent: a file that is there under its name with the same bytes is not sent again, and one that is
there with other bytes stays; the new one then gets a part of its hash into its name. A copy is there whole or not.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from blake3 import blake3

from comfyops.errors import DeliveryError, MissingExtraError, StorageError, UsageError
from comfyops.jobs.delivery_names import DEFAULT, Facts, check, key_of, with_hash
from comfyops.support.files import safe_path, writing

_PIECE = 1024 * 1024
_HASH = "comfyops-blake3"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file as it lies at its destination. `sent` = it was copied now, else it was there already."""

    key: str
    address: str
    sent: bool


class Destination(Protocol):
    """Where files go. Methods raise DeliveryError and StorageError."""

    async def state(self, key: str, digest: str, size: int) -> bool | None:
        """Whether the bytes of this BLAKE3 are there under this name; None where nothing is."""

    async def put(self, path: Path, key: str, digest: str, mime: str) -> None:
        """Copy a file."""

    def address(self, key: str) -> str:
        """Where a file is, as people write it."""

    async def link(self, key: str, seconds: float) -> str | None:
        """A signed link that anybody may follow for some time; None where this kind of destination has none."""


async def deliver(
    destination: Destination, path: Path, facts: Facts, *, mime: str = "", template: str = DEFAULT
) -> Delivered:
    """Copy a kept file to a destination, unless it is there.

    Raises DeliveryError where the destination does not take it, StorageError for a folder, MissingExtraError,
    UsageError for the template.
    """
    key = key_of(check(template), facts)
    size = path.stat().st_size
    there = await destination.state(key, facts.hash, size)
    if there is False:
        key = with_hash(key, facts.hash)
        there = await destination.state(key, facts.hash, size)
        if there is False:
            raise DeliveryError(f"{destination.address(key)} is there with other bytes, so nothing was sent.", key=key)
    if not there:
        await destination.put(path, key, facts.hash, mime)
    return Delivered(key, destination.address(key), not there)


def parse(text: str) -> Destination:
    """The destination of an address: a folder, `s3://bucket/prefix?endpoint=...&region=...`, `gs://bucket/prefix` or
    `az://container/prefix?account=...`.

    Credentials of buckets come from AWS_*, GOOGLE_* and AZURE_* variables or the machine's own role. Raises UsageError.
    """
    scheme = text.partition("://")[0] if "://" in text else ""
    make = _KINDS.get(scheme)
    if make is None:
        hint = "It is a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."
        raise UsageError(f"Files cannot be delivered to {text.partition('?')[0][:120]!r}.", hint=hint)
    return make(text)


class Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def state(self, key: str, digest: str, size: int) -> bool | None:
        """See `Destination.state`."""
        return await asyncio.to_thread(self._state, safe_path(self._folder, key), digest, size)

    async def put(self, path: Path, key: str, digest: str, mime: str) -> None:
        """See `Destination.put`."""
        await asyncio.to_thread(_copy, path, safe_path(self._folder, key))

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return str(self._folder / key)

    async def link(self, key: str, seconds: float) -> str | None:
        """A folder has no links."""
        return None

    def _state(self, path: Path, digest: str, size: int) -> bool | None:
        try:
            if path.stat().st_size != size:
                return False
            hasher = blake3()
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    hasher.update(piece)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}.", path=str(path)) from error
        return hasher.hexdigest() == digest


class Bucket:
    """A bucket of object storage, through obstore. `prefix` comes before every name."""

    def __init__(self, scheme: str, name: str, prefix: str, options: Mapping[str, str]) -> None:
        self._scheme = scheme
        self._name = name
        self._prefix = prefix.strip("/")
        self._options = dict(options)
        self._made: Any = None

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return "/".join(filter(None, (f"{self._scheme}://{self._name}", self._prefix, key)))

    async def state(self, key: str, digest: str, size: int) -> bool | None:
        """See `Destination.state`; the hash is kept beside the object, by its size where somebody else put it there."""
        found = await self._ask(lambda obs, store: obs.get_async(store, key), missing=None)
        if found is None:
            return None
        known = found.attributes.get(_HASH)
        return bool(known == digest if known else found.meta["size"] == size)

    async def put(self, path: Path, key: str, digest: str, mime: str) -> None:
        """See `Destination.put`."""
        facts = {"Content-Type": mime or "application/octet-stream", _HASH: digest}
        await self._ask(lambda obs, store: obs.put_async(store, key, path, attributes=facts))

    async def link(self, key: str, seconds: float) -> str | None:
        """See `Destination.link`."""
        lifetime = timedelta(seconds=seconds)
        return str(await self._ask(lambda obs, store: obs.sign_async(store, "GET", key, lifetime)))

    async def _ask(self, what: Callable[[Any, Any], Any], **default: Any) -> Any:
        """The answer of obstore; `missing` is what to give where there is no such object."""
        obs = _obstore()
        try:
            return await what(obs, self._store())
        except FileNotFoundError as error:
            if "missing" in default:
                return default["missing"]
            raise self._failed("there is no such bucket") from error
        except (obs.exceptions.PermissionDeniedError, obs.exceptions.UnauthenticatedError) as error:
            raise self._failed("it refuses these credentials") from error
        except (obs.exceptions.BaseError, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0].partition("?")[0][:200]
            raise self._failed(reason or type(error).__name__) from error

    def _failed(self, why: str) -> DeliveryError:
        return DeliveryError(f"{self._scheme}://{self._name} does not take files: {why}.", bucket=self._name)

    def _store(self) -> Any:
        if self._made is None:
            stores = _obstore().store
            kind = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[self._scheme]
            client = {"allow_http": self._options.get("endpoint", "").startswith("http://"), "timeout": "60s"}
            quick = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
            config = {_CONFIG.get(name, name): value for name, value in self._options.items()}
            prefix = self._prefix or None
            self._made = kind(self._name, prefix=prefix, config=config, client_options=client, retry_config=quick)
        return self._made


def _folder(text: str) -> Destination:
    path = unquote(urlsplit(text).path) if text.startswith("file://") else text
    if not path.strip() or "\0" in path:
        raise UsageError("The folder to deliver to has no name.", hint="Give a path.")
    return Folder(Path(path).expanduser().absolute())


def _bucket(text: str) -> Destination:
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        parts, options = urlsplit(""), {}
    known = _OPTIONS.get(parts.scheme, ())
    if not parts.netloc or parts.username or parts.fragment or any("\0" in part for part in parts):
        hint = "It looks like s3://bucket/prefix; credentials come from the environment."
        raise UsageError(f"{text.partition('?')[0][:120]!r} is no bucket.", hint=hint)
    if strange := sorted(options.keys() - set(known)):
        hint = f"There are {', '.join(known)}." if known else "It has none."
        raise UsageError(f"{strange[0][:60]!r} is no option of {parts.scheme}://.", hint=hint)
    return Bucket(parts.scheme, parts.netloc, unquote(parts.path), options)


_OPTIONS = {"s3": ("endpoint", "region"), "gs": (), "az": ("account", "endpoint")}
_CONFIG = {"account": "account_name"}
_KINDS: Mapping[str, Callable[[str], Destination]] = {
    "": _folder,
    "file": _folder,
    "s3": _bucket,
    "gs": _bucket,
    "az": _bucket,
}


def _copy(source: Path, target: Path) -> None:
    with writing(target) as file, source.open("rb") as opened:
        shutil.copyfileobj(opened, file, _PIECE)


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        words = "Deliveries to object storage need obstore, which is not installed."
        raise MissingExtraError(words, hint="pip install 'comfyops[stores]'") from error
    return obstore
