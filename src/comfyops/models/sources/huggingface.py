"""Hugging Face: `https://huggingface.co/OWNER/NAME/resolve/REVISION/PATH`.

Source: the Hub's own answer to HEAD on such an address: `X-Linked-Size`, `X-Linked-Etag` (the SHA-256 of a large file),
`X-Repo-Commit`, `X-Error-Code`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from comfyops.errors import DownloadError, GatedModelError
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Answer, Web
from comfyops.models.transfer.answers import joined, number

HOME = "https://huggingface.co"

_PATH = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HuggingFace:
    """The Hub, or the mirror that stands for it."""

    def takes(self, url: str) -> bool:
        """Whether it is an address of a file of the Hub."""
        parts = urlsplit(url)
        return parts.hostname in ("huggingface.co", "hf.co") and _PATH.fullmatch(parts.path) is not None

    def describe(self, url: str, web: Web) -> Remote:
        """Size, SHA-256 and commit of a file, by one HEAD.

        Raises GatedModelError naming the page to visit, DownloadError.
        """
        address = web.rewritten(url)
        answer = web.ask("HEAD", address, stay=True)
        if answer.status >= 400:
            raise _error(url, answer)
        size = answer.headers.get("x-linked-size") or (
            answer.headers.get("content-length") if answer.status == 200 else None
        )
        digest = (answer.headers.get("x-linked-etag") or answer.headers.get("etag") or "").strip('W/"').lower()
        return Remote(
            address,
            size=number(size),
            sha256=digest if _SHA256.fullmatch(digest) else None,
            revision=answer.headers.get("x-repo-commit"),
            file=unquote(urlsplit(url).path.rpartition("/")[2]),
            location=joined(answer.url, answer.headers.get("location", "")),
            etag=answer.headers.get("etag") if answer.status == 200 else None,  # a store has its own
        )


def repository(url: str) -> str:
    """Owner and name of the repository that an address is in."""
    found = _PATH.fullmatch(urlsplit(url).path)
    return found[1] if found else ""


def page(url: str) -> str:
    """The page where a person can read about a model, and ask for access to it."""
    return f"{HOME}/{repository(url)}"


def at_revision(url: str, revision: str) -> str:
    """The address of the same file at a commit, branch or tag."""
    named = f"/resolve/{quote(revision, safe='')}/"
    return re.sub(r"/resolve/[^/]+/", lambda _: named, url, count=1)


def _error(url: str, answer: Answer) -> DownloadError | GatedModelError:
    code = answer.headers.get("x-error-code", "")
    where, variable = page(url), "HF_TOKEN"
    if code == "GatedRepo" or (answer.status in (401, 403) and code != "RepoNotFound"):
        words = f"{repository(url)} is given only to those who accepted its licence."
        hint = f"Accept it at {where}, make a token at {HOME}/settings/tokens, and set {variable}."
        return GatedModelError(words, hint=hint, page=where, variable=variable)
    if code == "RepoNotFound" or answer.status == 401:
        words = f"Hugging Face knows no repository {repository(url)}, or does not show it to you."
        return DownloadError(words, hint=f"If it is private, set {variable}.", page=where, status=answer.status)
    words = f"{url.partition('?')[0]} is no longer there ({code or answer.status})."
    return DownloadError(words, hint=f"See what there is at {where}.", page=where, status=answer.status)
