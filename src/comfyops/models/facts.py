"""What sources say of models whose size or hash is not known, asked before anything is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import unquote

from comfyops.errors import DownloadError, ModelError, UpstreamChangedError, UsageError
from comfyops.models.entry import ENDINGS, ModelEntry, parse
from comfyops.models.lock import Pin, now
from comfyops.models.sources import Remote, Web, describe

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Answered:
    """A model with what its source says: the address that answered, or why none of them did."""

    entry: ModelEntry
    remote: Remote | None = None
    error: ModelError | None = None

    @property
    def pin(self) -> Pin | None:
        """What is to be remembered; None where no source answered."""
        if self.remote is None:
            return None
        said = "source" if self.remote.sha256 else "catalog"
        exact = self.remote.revision
        return Pin(self.entry.urls[0], self.entry.size, self.entry.sha256, exact, said, now())


def of_address(
    url: str,
    folder: str,
    web: Web | None,
    *,
    file: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
    groups: Sequence[str] = (),
) -> ModelEntry:
    """The model at an address. Its source is asked for name, size and hash where they are not given; None asks nobody.

    Raises CatalogError, UnsafeNameError, UsageError where nobody says the name, UpstreamChangedError where the source
    has another file than what is given, and what `describe` raises.
    """
    if not url.strip():
        raise UsageError("The address is empty.", hint="Give the address of a model's file.")
    data = {"folder": folder, "url": url, "size": size, "sha256": sha256, "required_in": list(groups)}
    remote = None
    if web is not None and not (file and size is not None and sha256):
        (address,) = parse({**data, "file": file or "x.safetensors"}, "the model").urls
        remote = describe(address, web)
        file = file or remote.file
    file = file or _last(url)
    if not file:
        raise UsageError("Nobody says the file's name.", hint="Give it with --file NAME.")
    entry = parse({**data, "file": file}, "the model")
    if remote is None:
        return entry
    _unchanged(entry, remote)
    return entry.with_facts(remote.size, remote.sha256)


def _last(url: str) -> str | None:
    """The file's name that an address ends in, where it is one of a model."""
    name = unquote(url.partition("?")[0].rpartition("/")[2])
    return name if PurePosixPath(name).suffix.lower() in ENDINGS else None


def ask(entries: Sequence[ModelEntry], web: Web) -> tuple[Answered, ...]:
    """Ask the sources of each model, several at once; the answers come in the order of the models."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(lambda entry: ask_one(entry, web), entries))


def ask_one(entry: ModelEntry, web: Web) -> Answered:
    """Ask a model's addresses in turn until one answers with the file that is promised."""
    first: ModelError | None = None
    for url in entry.urls:
        try:
            remote = describe(url, web)
            _unchanged(entry, remote)
        except ModelError as error:
            first = _worse(first, error)
            continue
        others = tuple(other for other in entry.urls if other != url)
        return Answered(replace(entry.with_facts(remote.size, remote.sha256), urls=(url, *others)), remote)
    return Answered(entry, error=first)


def _unchanged(entry: ModelEntry, remote: Remote) -> None:
    """Raises UpstreamChangedError where the source has another file than the promised one."""
    if entry.contradicts(remote.size, remote.sha256):
        words = f"Upstream changed: {remote.url.partition('?')[0]} is now another file than the pinned {entry.id}."
        pinned, upstream = [entry.size, entry.sha256], [remote.size, remote.sha256]
        raise UpstreamChangedError(words, revision=remote.revision, pinned=pinned, upstream=upstream)


def _worse(first: ModelError | None, error: ModelError) -> ModelError:
    """The error that says most: the first one, but any that a person can do something about goes before others."""
    if first is None or (isinstance(first, DownloadError) and not isinstance(error, DownloadError)):
        return error
    return first
