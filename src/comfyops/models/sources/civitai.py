"""Civitai: `https://civitai.com/api/download/models/VERSION` and `https://civitai.com/models/ID?modelVersionId=VERSION`.

Source: Civitai's public REST API, GET /api/v1/model-versions/VERSION: `files` with `name`, `sizeKB`, `hashes.SHA256`,
`downloadUrl`, `primary`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from comfyops.errors import DownloadError, GatedModelError
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Web

HOME = "https://civitai.com"

_DOWNLOAD = re.compile(r"/api/download/models/(\d+)")
_MOST_BYTES = 2**63
_KNOWN = ("type", "format", "size", "fp")


class Civitai:
    """Civitai, or the mirror that stands for it."""

    def takes(self, url: str) -> bool:
        """Whether it is an address of a model, or of a version of one."""
        parts = urlsplit(url)
        ours = parts.hostname in ("civitai.com", "www.civitai.com")
        return ours and (_version(url) is not None or parts.path.startswith("/models/"))

    def describe(self, url: str, web: Web) -> Remote:
        """Size, SHA-256 and name of a version's file, by one request.

        Raises GatedModelError, DownloadError.
        """
        version = _version(url)
        if version is None:
            words = f"{url.partition('?')[0]} is the page of a model, which may have many versions."
            raise DownloadError(words, hint="Choose one there: its address ends in ?modelVersionId=NUMBER.", page=url)
        answer = web.ask("GET", web.rewritten(f"{HOME}/api/v1/model-versions/{version}"))
        if answer.status in (401, 403):
            words = f"Civitai gives version {version} only to those who are logged in."
            hint = f"Make a key at {HOME}/user/account and set CIVITAI_API_TOKEN."
            raise GatedModelError(
                words, hint=hint, page=f"{HOME}/model-versions/{version}", variable="CIVITAI_API_TOKEN"
            )
        if answer.status != 200:
            raise DownloadError(f"Civitai knows no version {version} of a model.", status=answer.status)
        return _remote(answer.json(), url, str(version), web)


def _remote(data: Any, url: str, version: str, web: Web) -> Remote:
    files = data.get("files") if isinstance(data, Mapping) else None
    listed = files if isinstance(files, list) else []
    chosen = _chosen([item for item in listed if isinstance(item, Mapping)], url)
    if chosen is None:
        raise DownloadError(f"Civitai has no such file of version {version}.", hint="See the files on its page.")
    hashes = chosen.get("hashes")
    sha256 = str(hashes.get("SHA256") or "").lower() if isinstance(hashes, Mapping) else ""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items() if name in _KNOWN}
    address = f"{HOME}/api/download/models/{version}" + (f"?{urlencode(query)}" if query else "")
    return Remote(
        web.rewritten(address),
        size=_bytes(chosen.get("sizeKB")),
        sha256=sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None,
        revision=version,
        file=str(chosen.get("name") or "") or None,
    )


def _chosen(files: list[Mapping[str, Any]], url: str) -> Mapping[str, Any] | None:
    """The file that the address asks for: by type, format, size and precision, else the primary one."""
    query = {name: values[0].lower() for name, values in parse_qs(urlsplit(url).query).items() if name in _KNOWN}
    asked = [item for item in files if all(_says(item, name) in ("", value) for name, value in query.items())]
    best = [item for item in asked if item.get("primary")] or asked
    return best[0] if best else None


def _says(item: Mapping[str, Any], name: str) -> str:
    metadata = item.get("metadata")
    value = item.get("type") if name == "type" else metadata.get(name) if isinstance(metadata, Mapping) else None
    return str(value or "").lower()


def _bytes(kilobytes: Any) -> int | None:
    """Bytes of Civitai's kilobytes (1024 bytes, with fractions); None where they are no whole bytes."""
    if isinstance(kilobytes, bool) or not isinstance(kilobytes, int | float):
        return None
    size = kilobytes * 1024
    if not 0 <= size < _MOST_BYTES:
        return None
    return round(size) if abs(size - round(size)) < 0.01 else None


def _version(url: str) -> str | None:
    parts = urlsplit(url)
    found = _DOWNLOAD.fullmatch(parts.path)
    given = parse_qs(parts.query).get("modelVersionId", [""])[0]
    return found[1] if found else given if given.isascii() and given.isdigit() else None
