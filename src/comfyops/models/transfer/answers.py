"""What an answer of a server means for a download. Pure: headers in, a verdict out."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from comfyops.errors import ComfyOpsError, DownloadError, GatedModelError, UntrustedSourceError
from comfyops.models.transfer.pacing import Trouble, retry_after
from comfyops.models.transfer.ranges import Range

Kind = Literal["done", "again", "busy", "expired", "moved", "changed", "restart", "whole", "lied", "refused"]

_BUSY = frozenset({408, 425, 429, 503})
_EXPIRED = frozenset({401, 403, 404, 410})
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})
_DIGITS = 19  # of the longest number of bytes that a file system knows
_GATED_CODES = {"GatedRepo": "is gated", "RepoNotFound": "does not exist, or is private"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    done     the range is written
    again    it failed; `reason` says how, `trouble` where no answer came at all
    busy     the server wants to be left alone for `wait` seconds
    expired  the signed address is no longer valid: ask the source for a new one
    moved    the bytes are at `location`
    changed  the file is no longer the one that we began
    restart  what came cannot be continued: from the start
    whole    the server ignores ranges and sends the whole file
    lied     what it says of its range makes no sense
    refused  no use trying again; `error` says why
    """

    kind: Kind
    reason: str = ""
    wait: float | None = None
    location: str = ""
    error: ComfyOpsError | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers (names in lower case) of what a server said."""

    status: int
    headers: Mapping[str, str]
    url: str

    @property
    def etag(self) -> str | None:
        """The validator of the bytes, None where the server gives none."""
        return self.headers.get("etag")

    @property
    def length(self) -> int | None:
        """Content-Length, None where it is missing or makes no sense."""
        return number(self.headers.get("content-length"))

    @property
    def is_compressed(self) -> bool:
        """Whether its body, and so its length, is not that of the file."""
        return compressed(self.headers)

    @property
    def is_page(self) -> bool:
        """Whether it is a web page, as a login or an error page is."""
        return self.headers.get("content-type", "").lower().startswith("text/html")


def judge(answer: Answer, asked: Range, size: int, etag: str | None) -> Outcome | None:
    """What the answer to a request for a range means; None: its body is that range.

    `etag` is what earlier answers of this source carried, None where there were none.
    """
    if answer.status not in (200, 206):
        return _failure(answer)
    if answer.is_page:
        return Outcome("refused", error=web_page(answer.url))
    if answer.is_compressed:
        error = DownloadError(
            f"{shown(answer.url)} compresses the file though it is asked not to.", hint="Try another source."
        )
        return Outcome("refused", error=error)
    if not same_etag(etag, answer.etag):
        return Outcome("changed", "its ETag is another one now")
    return _partial(answer, asked, size) if answer.status == 206 else _full(answer, asked, size)


def _partial(answer: Answer, asked: Range, size: int) -> Outcome | None:
    text = answer.headers.get("content-range", "")
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        return Outcome("lied", f"the server answered with the range {text[:60]!r}")
    start, last, whole = int(match[1]), int(match[2]), match[3]
    if whole != "*" and int(whole) != size:
        return Outcome("changed", f"it has {int(whole):,} bytes instead of {size:,}")
    if start != asked[0] or last < start:
        return Outcome(
            "lied", f"the server answered with the bytes {start}-{last} instead of {asked[0]}-{asked[1] - 1}"
        )
    return None  # a shorter part is taken too, and the rest asked for again


def _full(answer: Answer, asked: Range, size: int) -> Outcome | None:
    if answer.length is not None and answer.length != size:
        return Outcome("changed", f"it has {answer.length:,} bytes instead of {size:,}")
    return None if asked == (0, size) else Outcome("whole", "the server ignores ranges")


def _failure(answer: Answer) -> Outcome:
    status = answer.status
    reason = f"HTTP {status}"
    if status in _BUSY:
        return Outcome("busy", reason, wait=retry_after(answer.headers.get("retry-after"), answer.headers.get("date")))
    if status in _EXPIRED:
        return Outcome("expired", reason)
    if 300 <= status < 400 and answer.headers.get("location"):
        return Outcome("moved", reason, location=answer.headers["location"])
    if status == 416:
        return Outcome("changed", "it is shorter now")
    if status >= 500:
        return Outcome("again", reason)
    return Outcome("refused", reason, error=DownloadError(f"{shown(answer.url)} answers with HTTP {status}."))


def refusal(answer: Answer) -> ComfyOpsError:
    """Why a source does not give a file, from its final answer (401, 403, 404 ...)."""
    code = answer.headers.get("x-error-code", "")
    where = shown(answer.url)
    if answer.status in (401, 403) or code in _GATED_CODES:
        what = _GATED_CODES.get(code, "needs a login")
        page = where.partition("/resolve/")[0]
        variable = "CIVITAI_API_TOKEN" if "civitai" in (urlsplit(answer.url).hostname or "") else "HF_TOKEN"
        hint = f"Open {page} in a browser and ask for access, then set {variable} to your token."
        return GatedModelError(f"{where} {what} (HTTP {answer.status}).", hint=hint, page=page, variable=variable)
    if answer.status in (404, 410):
        return DownloadError(f"{where} does not exist (HTTP {answer.status}).", hint="Check the address.")
    return DownloadError(f"{where} answers with HTTP {answer.status}.")


def untrusted_certificate(url: str, error: ssl.SSLCertVerificationError) -> UntrustedSourceError:
    """The error for a server that cannot prove its name."""
    return UntrustedSourceError(
        f"{shown(url)} has a certificate that is not trusted: {error.verify_message}.",
        hint="Check the address; for a mirror of your own add its certificate to those of this machine.",
    )


def web_page(url: str) -> GatedModelError:
    """The error for a server that sends a page instead of a file."""
    return GatedModelError(f"{shown(url)} answers with a web page instead of a file: it may ask for a login.")


def compressed(headers: Mapping[str, str]) -> bool:
    """Whether headers tell of a compressed body. Codings that are none are wrong labels on the file's own bytes."""
    codings = headers.get("content-encoding", "").lower().split(",")
    return any(coding.strip() in _COMPRESSED for coding in codings)


def shown(url: str) -> str:
    """An address for people and logs: without the query, which may hold a signature or a token, and without a login."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def same_etag(one: str | None, other: str | None) -> bool:
    """Whether two validators may be of the same bytes; a weak one equals its strong one, as that of a gzipped copy."""
    return not one or not other or one.removeprefix("W/") == other.removeprefix("W/")


def sha256_in(etag: str | None) -> str | None:
    """The SHA-256 that an ETag of Hugging Face is, None for other ETags."""
    text = (etag or "").removeprefix("W/").strip('"').lower()
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def total_in(content_range: str | None) -> int | None:
    """The size of the whole file in a Content-Range."""
    return number((content_range or "").rpartition("/")[2])


def number(text: str | None) -> int | None:
    """The whole number that a header is, None where it makes no sense."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def joined(url: str, location: str) -> str:
    """Where a redirect leads. Raises UntrustedSourceError where it is no address."""
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise UntrustedSourceError(f"{shown(url)} redirects to something that is not an address.") from error
