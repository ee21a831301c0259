"""Where models come from: one file per kind of source, and the one list of them."""

from __future__ import annotations

from collections.abc import Mapping

from comfyops.errors import UntrustedSourceError
from comfyops.models.sources.civitai import Civitai
from comfyops.models.sources.huggingface import HuggingFace
from comfyops.models.sources.local import Local
from comfyops.models.sources.objects import Objects
from comfyops.models.sources.source import Remote, Source
from comfyops.models.sources.url import Url
from comfyops.models.sources.web import Web

SOURCES: Mapping[str, Source] = {
    "huggingface": HuggingFace(),
    "civitai": Civitai(),
    "local": Local(),
    "objects": Objects(),
    "url": Url(),
}
"""Kinds of sources by name; the first that takes an address is asked."""


def source_of(url: str) -> str:
    """The name of the kind of source that an address is of.

    Raises UntrustedSourceError for an address that none takes.
    """
    for name, source in SOURCES.items():
        if source.takes(url):
            return name
    raise UntrustedSourceError(f"{url.partition('?')[0][:200]} is no address of a model.", url=url.partition("?")[0])


def describe(url: str, web: Web) -> Remote:
    """What the source of an address says of its file.

    Raises GatedModelError, UntrustedSourceError, DownloadError.
    """
    return SOURCES[source_of(url)].describe(url, web)


__all__ = ["SOURCES", "Remote", "Source", "Web", "describe", "source_of"]
