"""Any other https address, such as a file of a GitHub release: it says its size, and nobody says its hash."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from comfyops.errors import DownloadError, GatedModelError
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Answer, Web
from comfyops.models.transfer.answers import compressed, number
from comfyops.models.transfer.source import NO_HEAD


class Url:
    """A plain address."""

    def takes(self, url: str) -> bool:
        """Whether it is a web address."""
        return urlsplit(url).scheme in ("http", "https")

    def describe(self, url: str, web: Web) -> Remote:
        """Size and name of a file, by HEAD, or by GET of one byte where that is refused or tells none.

        Raises GatedModelError, DownloadError.
        """
        answer = web.ask("HEAD", url)
        if answer.status in NO_HEAD or (answer.status == 200 and not _size(answer)):
            byte = web.ask("GET", url, headers={"Range": "bytes=0-0"})
            answer = byte if answer.status >= 400 or byte.status < 400 else answer
        shown = url.partition("?")[0]
        if answer.status in (401, 403):
            words = f"{shown} is not given to everybody ({answer.status})."
            raise GatedModelError(words, hint="Fetch it with a browser, and use `comfyops models download --manual`.")
        if answer.status >= 400:
            raise DownloadError(f"{shown} is not there ({answer.status}).", status=answer.status)
        file, etag = unquote(urlsplit(url).path.rpartition("/")[2]), answer.headers.get("etag")
        return Remote(url, size=_size(answer), revision=etag, file=file, location=answer.url, etag=etag)


def _size(answer: Answer) -> int | None:
    total = answer.headers.get("content-range", "").rpartition("/")[2]
    text = total if answer.status == 206 else answer.headers.get("content-length", "")
    return None if compressed(answer.headers) else number(text)
