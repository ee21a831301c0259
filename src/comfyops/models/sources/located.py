"""What sources said a moment ago, so that a file that is planned and then fetched is asked about once.

A transfer asks this first (`TransferSettings.locate`). Objects of object storage have no web address of their own, so
each question about them ends here.
"""

from __future__ import annotations

import threading
import time

from comfyops.models.sources.buckets import SCHEMES
from comfyops.models.sources.objects import Objects
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Web
from comfyops.models.transfer.source import Source

FRESH = 300.0
"""Seconds for which an answer counts; a signed address lives longer, and an older answer costs one more question."""


class Located:
    """Remembers answers, each for one use. Asked by the threads of a transfer."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._known: dict[str, tuple[Remote, float]] = {}
        self._lock = threading.Lock()

    def learn(self, remote: Remote) -> None:
        """A source just said this."""
        if remote.location is not None and remote.size is not None:
            with self._lock:
                self._known[remote.url] = (remote, time.monotonic())

    def __call__(self, url: str) -> Source | None:
        """Where the file of an address is; None where its server is to be asked.

        Raises UntrustedSourceError, MissingExtraError, GatedModelError, DownloadError.
        """
        with self._lock:
            remote, said_at = self._known.pop(url, (None, 0.0))
        stored = url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))
        if remote is None or time.monotonic() - said_at > FRESH:
            remote = Objects().describe(url, self._web) if stored else None
        if remote is None or remote.location is None:
            return None
        if not stored:
            self._web.trust.allow(remote.location)
        commit = remote.revision if remote.sha256 else None
        return Source(url, remote.location, remote.size, remote.sha256, remote.etag, commit)
