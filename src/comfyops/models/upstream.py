"""Why bytes are not the promised ones: the source has another file now, or they came wrong."""

from __future__ import annotations

from comfyops.errors import IntegrityError, ModelError, UpstreamChangedError
from comfyops.models.entry import ModelEntry
from comfyops.models.sources import Remote, Web, describe


def explained(entry: ModelEntry, error: IntegrityError, revision: str | None, web: Web) -> ModelError:
    """The error to tell for wrong bytes: UpstreamChangedError where a source says so itself, else the error given.

    A source says so where it promises the very hash that came, or, where it promises none, where its name of the
    file's state (`revision`, an ETag or version) is no longer the pinned one.
    """
    for url in entry.urls:
        try:
            remote = describe(url, web)
        except ModelError:
            continue
        if _is_another(entry, remote, error.facts.get("actual"), revision):
            words = f"Upstream changed: {remote.url.partition('?')[0]} is now another file than the pinned {entry.id}."
            hint = "Take the new file with `comfyops models lock --update`, or give an address of the old one."
            pinned, upstream = [entry.size, entry.sha256], [remote.size, error.facts.get("actual")]
            facts = {"pinned": pinned, "upstream": upstream, "quarantine": error.facts.get("quarantine")}
            return UpstreamChangedError(words, hint=hint, revision=remote.revision, **facts)
    return error


def _is_another(entry: ModelEntry, remote: Remote, actual: object, revision: str | None) -> bool:
    if remote.sha256 is not None:
        return remote.sha256 == actual and remote.sha256 != entry.sha256
    return None not in (revision, remote.revision) and revision != remote.revision
