"""Other machines that share their models folder (`comfyops models share`), asked before the internet.

    HEAD /sha256/HASH           who has these bytes says how many they are
    HEAD /models/FOLDER/NAME    the same by name, where nobody has promised a hash

What a peer says is no promise: its bytes are compared with the hash that a catalog, a lock or the model's source gave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import quote

from comfyops.errors import DownloadError, UntrustedSourceError, UsageError
from comfyops.models.entry import ModelEntry
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Web
from comfyops.models.transfer.answers import number

TIMEOUT = 3.0
"""Seconds for a peer's answer; one that does not answer is not asked again in this run."""

_ADDRESS = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Peers:
    """Peers by their addresses (`http://host:port`), in the order in which they are asked."""

    addresses: tuple[str, ...] = ()

    def holding(self, entries: Sequence[ModelEntry], web: Web) -> Mapping[str, tuple[Remote, ...]]:
        """Where models (by their ids) can be had from peers; a peer that does not answer has none."""
        if not (self.addresses and entries):
            return {}
        quick = replace(web, timeout=TIMEOUT, attempts=1, offline=False)
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            answers = list(pool.map(lambda peer: _held(peer, entries, quick), self.addresses))
        return {entry.id: tuple(held[entry.id] for held in answers if entry.id in held) for entry in entries}


def parse(text: str) -> Peers:
    """The peers of the setting `peers`.

    Raises UsageError for what is no address of one.
    """
    found = tuple(item for part in text.split(",") if (item := part.strip().rstrip("/")))
    for item in found:
        if not _ADDRESS.fullmatch(item):
            words = f"The setting 'peers' is wrong: {item[:80]!r} is no address of a peer."
            raise UsageError(words, hint="It looks like 'http://10.0.0.7:8190, http://gpu2:8190'.")
    return Peers(found)


def address(peer: str, entry: ModelEntry) -> str:
    """Where a peer has a model: by its hash, else by its name."""
    if entry.sha256 is not None:
        return f"{peer}/sha256/{entry.sha256}"
    return f"{peer}/models/{quote(entry.folder)}/{quote(entry.file)}"


def _held(peer: str, entries: Sequence[ModelEntry], web: Web) -> dict[str, Remote]:
    held: dict[str, Remote] = {}
    for entry in entries:
        url = address(peer, entry)
        try:
            answer = web.ask("HEAD", url, stay=True)
        except (DownloadError, UntrustedSourceError):
            break
        length = answer.headers.get("content-length", "")
        size = number(length)
        if answer.status == 200 and size is not None and entry.size in (None, size):
            held[entry.id] = Remote(url, size, location=url, etag=answer.headers.get("etag"))
    return held
