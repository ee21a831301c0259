"""What is asked of the downloads, and what they answer: values, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from comfyops.errors import ComfyOpsError
from comfyops.support import proxies

if TYPE_CHECKING:
    from comfyops.models.transfer.source import Source

Status = Literal["queued", "downloading", "paused", "completed", "failed"]
MIB = 1 << 20


def _any_address(_url: str) -> None:
    """Every address is allowed: for sources that were checked before."""


def _no_token(_host: str) -> str | None:
    return None


def _not_known(_url: str) -> Source | None:
    return None


@dataclass(frozen=True, slots=True)
class FileRequest:
    """One file to have in its place.

    `name` identifies it in progress, `cancel` and `prioritise`. `urls` are the same file at several sources, best
    first. `size` (bytes) and `sha256` (64 hex digits) are checked; what is None is asked of the source, and a hash that
    the source does not know either is computed and reported as trust on first use. A higher `priority` starts earlier.
    `check` looks at the complete file before it is placed, and raises IntegrityError (or another ModelError) to refuse;
    it gets the partial file's path, which ends in ".part": the name that tells the format is that of `target`.
    `measure` tells from the beginning of a file (at such a path) how long it must be at least, None where it cannot:
    for servers that do not say.
    """

    name: str
    target: Path
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    priority: int = 0
    check: Callable[[Path], None] | None = None
    measure: Callable[[Path], int | None] | None = None


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How downloads behave.

    connections    at once, over all files
    per_file       connections of one file
    files          files at once
    stall_timeout  seconds without a byte after which a connection is given up
    limit_rate     bytes per second over all connections, None for no limit
    attempts       failures in a row, without a byte in between, after which a source is given up
    full_attempts  how often a file whose hash was wrong is fetched anew
    disk_margin    part of the plan's bytes that must stay free besides
    longest_hold   seconds of Retry-After that are waited for; a longer one is a failure of the source
    lock_timeout   seconds to wait for another process that fetches the same file
    allow          raises UntrustedSourceError; asked for each address, redirects included
    token_for      the token for a host ("huggingface.co", "localhost:8080"), None for none; never follows a redirect
    locate         where the file of an address is, for addresses that no web server is asked about (s3://...) and for
                   those that were asked a moment ago; None: it is asked by HTTP. May raise a ModelError
    proxies        what stands between this machine and the sources
    ca_file        certificates to trust besides the system's (PEM)
    """

    connections: int = 16
    per_file: int = 16
    files: int = 4
    stall_timeout: float = 15.0
    limit_rate: int | None = None
    attempts: int = 8
    full_attempts: int = 2
    disk_margin: float = 0.01
    longest_hold: float = 300.0
    lock_timeout: float = 24 * 3600.0
    allow: Callable[[str], None] = _any_address
    token_for: Callable[[str], str | None] = _no_token
    locate: Callable[[str], Source | None] = _not_known
    proxies: proxies.Proxies = proxies.NONE
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far one file is. Bytes, megabytes (10^6) per second, seconds; `eta_seconds` is None where not known.

    `total_bytes` is 0 as long as nobody has said how long the file is. `error_code` is the error's stable code.
    """

    model_name: str
    total_bytes: int
    downloaded_bytes: int
    speed_mbps: float
    eta_seconds: float | None
    status: Status
    error_message: str | None = None
    error_code: str | None = None

    @property
    def percent(self) -> float | None:
        """How much of it is there, 0 to 100; None where its size is not known."""
        if self.total_bytes:
            return min(100.0, 100.0 * self.downloaded_bytes / self.total_bytes)
        return 100.0 if self.status == "completed" else None

    def documented(self) -> dict[str, object]:
        """The fields by the names of StoryCore's documented type; `percent` and `errorCode` besides."""
        return {
            "modelName": self.model_name,
            "totalBytes": self.total_bytes,
            "downloadedBytes": self.downloaded_bytes,
            "speedMbps": self.speed_mbps,
            "etaSeconds": self.eta_seconds,
            "status": self.status,
            "errorMessage": self.error_message,
            "errorCode": self.error_code,
            "percent": self.percent,
        }


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a request.

    `downloaded_bytes` came over the network in this run, `reused_bytes` were there before. With `trust_on_first_use`
    nobody had promised the hash: `sha256` is that of the bytes that came.
    """

    request: FileRequest
    ok: bool
    sha256: str | None
    size: int
    seconds: float
    downloaded_bytes: int
    reused_bytes: int
    trust_on_first_use: bool
    error: ComfyOpsError | None = None
