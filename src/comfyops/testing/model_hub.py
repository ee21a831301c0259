"""A hub for model files that behaves like Hugging Face, or like Civitai, with faults on demand. Simulated throughout.

    hub    http://127.0.0.1:PORT/org/repo/resolve/main/file      HEAD and GET: 302 with X-Linked-Size, X-Linked-Etag
           http://127.0.0.1:PORT/api/models/org/repo[/tree/main | /paths-info/main]
           http://127.0.0.1:PORT/api/download/models/ID          Civitai: 307 to a signed address that refuses HEAD
           http://127.0.0.1:PORT/api/v1/model-versions/ID, .../by-hash/SHA256
           http://127.0.0.1:PORT/plain/NAME                      a web server that knows ranges and nothing else
    store  http://127.0.0.1:OTHER/blob/NAME?...                  where both keep the bytes; refuses tokens, as S3 does

    with ModelHub({"org/repo/model.safetensors": data}, Faults(drop_after=(1000, 5000))) as hub:
        url = hub.url("org/repo/model.safetensors")

`python -m comfyops.testing.model_hub FILE...` serves files from a process of its own (the benchmark does so).
"""

from __future__ import annotations

import hashlib
import random
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Everything is off by default; `ModelHub.faults` may be replaced while the hub runs.

    throttle             bytes per second of one connection
    latency              seconds before each answer
    drop_after           each body is cut after a random number of bytes between these two
    reset                the cut is a TCP reset instead of an end
    stall_after          each body stops after so many bytes, the connection stays open
    wrong_at             the byte at this offset of the file comes flipped
    wrong_content_range  the Content-Range is off by one
    ignore_range         the whole file is sent whatever was asked
    no_validators        no ETag
    new_bytes_after      after so many requests to the store another file of the same size is served
    statuses             answers given first, one a request: (role "hub" or "store", status, headers)
    always               (role, status): every request gets this answer
    signed_seconds       how long a signed address is valid
    gated                the hub wants a token: the code of X-Error-Code, "GatedRepo" or "RepoNotFound"
    token                the one that the hub takes
    login_page           the store answers with a page of HTML
    redirects            the hub sends people in circles
    """

    throttle: float | None = None
    latency: float = 0.0
    drop_after: tuple[int, int] | None = None
    reset: bool = False
    stall_after: int | None = None
    wrong_at: int | None = None
    wrong_content_range: bool = False
    ignore_range: bool = False
    no_validators: bool = False
    new_bytes_after: int | None = None
    statuses: tuple[tuple[str, int, Mapping[str, str]], ...] = ()
    always: tuple[str, int] | None = None
    signed_seconds: float = 3600.0
    gated: str = ""
    token: str = ""
    login_page: bool = False
    redirects: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the hub saw it; `role` is "hub" or "store", `range` the header, `sent` the bytes of the body."""

    role: str
    method: str
    path: str
    range: str | None
    token: str | None
    status: int
    sent: int = 0


@dataclass(slots=True)
class HubFile:
    """A file of the hub: its bytes in memory, or on the disk."""

    name: str
    path: Path | None = None
    data: bytes = b""
    sha256: str = ""
    etag: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.sha256 = self.sha256 or (_sha256(self.path) if self.path else hashlib.sha256(self.data).hexdigest())
        self.etag = f'"{self.sha256[:32]}-7"'

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.path else len(self.data)

    @property
    def civitai_id(self) -> int:
        """The number by which the Civitai-like part knows it."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[:7], 16)


class ModelHub:
    """Both servers, in threads; start and stop it with `with`. `requests` is what was asked, in order."""

    def __init__(
        self,
        files: Mapping[str, bytes | Path],
        faults: Faults | None = None,
        *,
        seed: int = 0,
        certificate: Path | None = None,
        port: int = 0,
    ) -> None:
        from comfyops.testing.model_hub_routes import HubRoutes, StoreRoutes

        self.faults = faults or Faults()
        self.commit = hashlib.sha1(repr(sorted(files)).encode(), usedforsecurity=False).hexdigest()
        self.requests: list[Asked] = []
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.files: dict[str, HubFile] = {}
        self.store_requests = 0
        self._sent = 0
        self._scheme = "http" if certificate is None else "https"
        for name, content in files.items():
            self.put(name, content)
        self._servers = [serve(self, routes, certificate, at) for routes, at in ((HubRoutes, port), (StoreRoutes, 0))]
        self._threads: list[threading.Thread] = []

    def put(self, name: str, content: bytes | Path) -> HubFile:
        """Add a file, or replace one: its ETag changes with its bytes."""
        on_disk = isinstance(content, Path)
        file = HubFile(name, path=content) if on_disk else HubFile(name, data=content)  # type: ignore[arg-type]
        self.files[name] = file
        return file

    def __enter__(self) -> ModelHub:
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(5)

    @property
    def endpoint(self) -> str:
        """The address of the hub, as HF_ENDPOINT takes it."""
        return f"{self._scheme}://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def store(self) -> str:
        """The address of the other host, where the bytes are."""
        return f"{self._scheme}://127.0.0.1:{self._servers[1].server_address[1]}"

    def url(self, name: str, revision: str = "main") -> str:
        """The address of a file ("org/repo/path/file") as Hugging Face's would be."""
        organisation, repository, path = name.split("/", 2)
        return f"{self.endpoint}/{organisation}/{repository}/resolve/{revision}/{quote(path)}"

    def civitai_url(self, name: str) -> str:
        """The download address of a file as Civitai's would be."""
        return f"{self.endpoint}/api/download/models/{self.files[name].civitai_id}"

    def plain_url(self, name: str) -> str:
        """The file on a plain web server: no redirect, no hash."""
        return f"{self.endpoint}/plain/{quote(name)}"

    def signed(self, name: str) -> str:
        """An address at the store that is valid for `signed_seconds`."""
        until = time.monotonic() + self.faults.signed_seconds
        return f"{self.store}/blob/{quote(name)}?Expires={until:.3f}&Signature=simulated"

    def asked(self, role: str | None = None, method: str | None = None) -> list[Asked]:
        """What was asked of the hub or of the store so far."""
        with self.lock:
            return [item for item in self.requests if role in (None, item.role) and method in (None, item.method)]

    def sent(self) -> int:
        """Bytes of files that were sent so far, those on their way included."""
        return self._sent

    def count_bytes(self, count: int) -> None:
        """Some bytes of a file were sent."""
        with self.lock:
            self._sent += count

    def note(self, asked: Asked) -> None:
        """Remember a request."""
        with self.lock:
            self.requests.append(asked)

    def next_status(self, role: str) -> tuple[int, Mapping[str, str]] | None:
        """The answer that `faults` wants instead of the normal one; each of `statuses` is given once."""
        with self.lock:
            for index, (where, status, headers) in enumerate(self.faults.statuses):
                if where == role:
                    rest = self.faults.statuses[:index] + self.faults.statuses[index + 1 :]
                    self.faults = replace(self.faults, statuses=rest)
                    return status, headers
            if self.faults.always and self.faults.always[0] == role:
                return self.faults.always[1], {}
            return None

    def count_store_request(self) -> None:
        """Count, and bring the new version of every file when `faults` says that it is time."""
        with self.lock:
            self.store_requests += 1
            after = self.faults.new_bytes_after
            if after is None or self.store_requests <= after:
                return
            self.faults = replace(self.faults, new_bytes_after=None)
            for name, file in list(self.files.items()):
                self.put(name, bytes(byte ^ 0xFF for byte in (file.path.read_bytes() if file.path else file.data)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to report."""


def serve(hub: ModelHub, routes: type, certificate: Path | None, port: int) -> ThreadingHTTPServer:
    """A server for one role of a hub, listening but not yet running; https with a certificate."""
    handler = type(routes.__name__, (routes,), {"hub": hub})
    server = _Server(("127.0.0.1", port), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def http_date(seconds_from_now: float) -> str:
    """A date as HTTP headers write it, for Retry-After."""
    return formatdate(time.time() + seconds_from_now, usegmt=True)


def main(arguments: Iterable[str] | None = None) -> None:
    """Serve files until the process ends; prints the address of the hub and of the store on one line."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m comfyops.testing.model_hub", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="served as org/repo/NAME")
    parser.add_argument("--throttle", type=float, help="bytes per second of one connection")
    parser.add_argument("--drop-after", type=int, nargs=2, metavar=("LEAST", "MOST"), help="cut each body within these")
    parser.add_argument("--certificate", type=Path, help="PEM file with certificate and key: https")
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    drop = tuple(chosen.drop_after) if chosen.drop_after else None
    faults = Faults(throttle=chosen.throttle, drop_after=drop)
    files = {f"org/repo/{path.name}": path for path in chosen.files}
    with ModelHub(files, faults, certificate=chosen.certificate, port=chosen.port) as hub:
        print(hub.endpoint, hub.store, flush=True)  # noqa: T201  the caller reads it
        hub.stopping.wait()


if __name__ == "__main__":
    main()
