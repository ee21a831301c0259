"""Objects of object storage: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `az://CONTAINER/KEY`.

Source: the answers of Amazon S3, Google Cloud Storage and Azure Blob Storage to HEAD of an object: `Content-Length`,
`ETag`, `x-amz-version-id`, `x-goog-generation`, and metadata that the uploader gave. An object whose metadata holds
`sha256` (64 hexadecimal digits) promises that hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from comfyops.errors import DownloadError, GatedModelError
from comfyops.models.sources.buckets import SCHEMES, Bucket
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Answer, Web, offline_error
from comfyops.models.transfer.answers import number

_SHA256 = re.compile(r"[0-9a-f]{64}")
_METADATA = ("x-amz-meta-sha256", "x-goog-meta-sha256", "x-ms-meta-sha256")
_VERSIONS = ("x-amz-version-id", "x-goog-generation", "x-ms-version-id")
_ELSEWHERE = frozenset({301, 307, 400})


class Objects:
    """Objects of the buckets that a person named."""

    def takes(self, url: str) -> bool:
        """Whether it is an address of object storage."""
        return urlsplit(url).scheme in SCHEMES

    def describe(self, url: str, web: Web) -> Remote:
        """Size, ETag, version and perhaps SHA-256 of an object, by one HEAD; `location` is its signed address.

        Raises UntrustedSourceError, MissingExtraError, GatedModelError, DownloadError.
        """
        bucket, key = web.buckets.find(url)
        if web.offline:  # signing may ask for the machine's role
            raise offline_error()
        head = bucket.address("HEAD", key)
        own = replace(web, trust=web.trust.also(head))
        answer = own.ask("HEAD", head, stay=True)
        if answer.status != 200:
            raise _error(url, bucket, answer)
        length = answer.headers.get("content-length", "")
        digest = (_first(answer.headers, _METADATA) or "").lower()
        return Remote(
            url,
            size=number(length),
            sha256=digest if _SHA256.fullmatch(digest) else None,
            revision=_first(answer.headers, _VERSIONS) or answer.headers.get("etag"),
            file=key.rpartition("/")[2],
            location=bucket.address("GET", key),
            etag=answer.headers.get("etag"),
        )


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((headers[name] for name in names if headers.get(name)), None)


def _error(url: str, bucket: Bucket, answer: Answer) -> DownloadError | GatedModelError:
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in _ELSEWHERE and region:
        words = f"{bucket.url} is in the region {region}."
        return DownloadError(words, hint=f"Name it as {bucket.url}?region={region} in COMFYOPS_MODEL_BUCKETS.")
    if answer.status in (401, 403):
        words = f"{url} is not given to these credentials, or is not there ({answer.status})."
        hint = (
            f"Set {bucket.credentials} to those of somebody who may read {bucket.url}, and see that the clock is right."
        )
        return GatedModelError(words, hint=hint)
    words = f"{url} is not there ({answer.status})."
    return DownloadError(words, hint="Check bucket and key.", status=answer.status)
