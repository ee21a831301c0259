"""Files of this machine: `file:///...` addresses, such as a share that is mounted."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from comfyops.errors import DownloadError
from comfyops.models.sources.source import Remote
from comfyops.models.sources.web import Web


class Local:
    """A file that lies on this machine already."""

    def takes(self, url: str) -> bool:
        """Whether it is the address of a file."""
        return urlsplit(url).scheme == "file"

    def describe(self, url: str, web: Web) -> Remote:
        """Size and name of the file.

        Raises DownloadError where it is not there.
        """
        path = path_of(url)
        try:
            return Remote(url, size=path.stat().st_size, file=path.name)
        except OSError as error:
            raise DownloadError(f"{path} is not there.", path=str(path)) from error


def path_of(url: str) -> Path:
    """The file at such an address."""
    return Path(url2pathname(urlsplit(url).path))
