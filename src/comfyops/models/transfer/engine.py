"""The doorway of the downloads: `Transfers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comfyops.models.transfer.request import DownloadProgress, FileRequest, FileResult, TransferSettings

Listener = Callable[[DownloadProgress], None]


class Transfers:
    """Fetches files; see `run`."""

    def __init__(self, settings: TransferSettings | None = None) -> None:
        self.settings = settings or TransferSettings()

    def run(self, requests: Sequence[FileRequest], on_progress: Listener | None = None) -> tuple[FileResult, ...]:
        """Fetch, verify and place every file; blocks until all have ended."""
        raise NotImplementedError
