"""What every source of models can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from comfyops.models.sources.web import Web


@dataclass(frozen=True, slots=True)
class Remote:
    """What a source says of a file, before anything of it is fetched.

    `url` is the address to fetch it from. `size` in bytes, `sha256` and `revision` are None where the source does not
    say. `file` is the name that the source gives it. `location` is where the bytes are right now, which may be a signed
    address that is never shown or kept, and `etag` what the server there calls them; None where that was not said.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    revision: str | None = None
    file: str | None = None
    location: str | None = field(default=None, repr=False, compare=False)
    etag: str | None = None


class Source(Protocol):
    """One kind of source."""

    def takes(self, url: str) -> bool:
        """Whether an address is one of this source's."""

    def describe(self, url: str, web: Web) -> Remote:
        """What the source says of the file at an address.

        Raises GatedModelError, UntrustedSourceError, DownloadError.
        """
