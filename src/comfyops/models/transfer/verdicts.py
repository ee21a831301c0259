"""What is decided about a file from what its sources said: its size, and the errors. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from comfyops.errors import DownloadError, ModelError, UpstreamChangedError
from comfyops.models.transfer.answers import shown
from comfyops.models.transfer.request import FileRequest
from comfyops.models.transfer.source import Source


def agreed_size(wanted: FileRequest, source: Source) -> int | None:
    """The size that request and source agree on, None where nobody knows it. Raises UpstreamChangedError."""
    where = shown(source.url)
    if wanted.sha256 and source.sha256 and source.sha256 != wanted.sha256:
        raise UpstreamChangedError(
            f"{where} now has another file: SHA-256 {source.sha256[:12]}… instead of {wanted.sha256[:12]}….",
            expected=wanted.sha256,
            actual=source.sha256,
        )
    if wanted.size is not None and source.size not in (None, wanted.size):
        raise UpstreamChangedError(
            f"{where} now has another file: {source.size:,} bytes instead of {wanted.size:,}.",
            expected=wanted.size,
            actual=source.size,
        )
    return wanted.size if wanted.size is not None else source.size


def endless(url: str, size: int) -> DownloadError:
    """The error for a file whose end neither its server nor its own beginning tells."""
    return DownloadError(
        f"{shown(url)} does not say where the file ends, so nobody can tell whether {size:,} bytes are all of it.",
        hint="Give its size or its SHA-256, or another source.",
    )


def identity(sha256: str | None, url: str) -> str:
    """What partial bytes belong to: a SHA-256, or an address (hashed, since it may hold a token)."""
    return sha256 or "url:" + hashlib.sha256(url.encode()).hexdigest()


def gave_up(url: str, reason: str, *, again: bool = False) -> DownloadError:
    """The error for a source that is left; with `again` it is worth another try when the other sources failed too."""
    facts: dict[str, Any] = {"again": True} if again else {}
    return DownloadError(f"{shown(url)} could not be fetched: {reason}.", url=shown(url), reason=reason, **facts)


def summary(name: str, problems: list[tuple[str, ModelError]]) -> ModelError:
    """One error for all sources: their own where they agree, else the first that a person can do something about."""
    if not problems:
        return DownloadError(f"There is no source for {name}.", hint="Give an address to fetch it from.")
    last = problems[-1][1]
    reasons = {where: str(error) for where, error in problems}
    alike = len({type(error) for _, error in problems}) == 1
    told = last if alike else next((error for _, error in problems if not isinstance(error, DownloadError)), None)
    if told is not None:
        told.facts.setdefault("reasons", reasons)
        return told
    return DownloadError(f"None of {len(reasons)} sources gave {name}; the last said: {last}", reasons=reasons)
