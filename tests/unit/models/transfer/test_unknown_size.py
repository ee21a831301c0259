"""Servers that do not say how long a file is, or know no ranges: one stream, its end proven or refused."""

from __future__ import annotations

import hashlib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from comfyops.models import formats
from comfyops.models.transfer import DownloadProgress, FileRequest, FileResult, Transfers, TransferSettings
from comfyops.models.transfer.request import MIB
from tests.unit.models.shelf import weights

DATA = weights(3_000_000, seed=9)
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Terse:
    """A server that sends one file as `way` says: "chunked", "closing" (HTTP/1.0) or "ranges".

    The first `cuts` bodies end in the middle; HEAD never tells a length.
    """

    way: str
    data: bytes = field(default=DATA, repr=False)
    cuts: int = 0
    etag: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, request: str) -> Iterator[bytes]:
        """The answer to a request's head."""
        method = request.split()[0]
        ranged = next((line[13:] for line in request.splitlines() if line.lower().startswith("range: bytes=")), "")
        self.asked.append(f"{method} {ranged}".strip())
        etag = f"ETag: {self.etag}\r\n" if self.etag else ""
        body = self.data if method == "GET" else b""
        if self.way == "ranges" and ranged and body:
            first, last = (int(text) for text in ranged.split("-"))
            part = body[first : last + 1]
            where = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
            yield (
                f"HTTP/1.1 206 P\r\n{etag}Content-Range: {where}\r\nContent-Length: {len(part)}\r\n\r\n".encode() + part
            )
            return
        if len(body) and ranged == "" and self.cuts:
            self.cuts -= 1
            body = body[: len(body) // 2]
        if self.way == "closing":
            yield f"HTTP/1.0 200 OK\r\n{etag}\r\n".encode() + body
            return
        yield f"HTTP/1.1 200 OK\r\n{etag}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        if method == "GET" and len(body) == len(self.data):
            yield b"0\r\n\r\n"


@contextmanager
def serving(terse: Terse) -> Iterator[str]:
    """The address of the file."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                got = self.request.recv(65536)
                if not got:
                    return
                head += got
            try:
                for piece in terse.answer(head.decode()):
                    self.request.sendall(piece)
            except OSError:
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/a"
        server.shutdown()
        thread.join(5)


def fetch(folder: Path, url: str, name: str = "a.safetensors", **options: object) -> FileResult:
    """The file."""
    given = {"check": formats.checker(name), "measure": formats.measurer(name), **options}
    (result,) = Transfers().run([FileRequest("a", folder / name, (url,), **given)])  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize("way", ["chunked", "closing", "ranges"])
@pytest.mark.parametrize("sha256", [SHA, None])
def test_a_file_of_unknown_size_is_fetched_hashed_and_its_size_learned(
    way: str, sha256: str | None, tmp_path: Path
) -> None:
    with serving(Terse(way)) as url:
        result = fetch(tmp_path, url, sha256=sha256)
    assert result.error is None and (result.sha256, result.size) == (SHA, len(DATA))
    assert result.trust_on_first_use is (sha256 is None)
    assert result.request.target.read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("way", ["chunked", "closing"])
def test_a_size_that_is_promised_is_kept_to(way: str, tmp_path: Path) -> None:
    with serving(Terse(way)) as url:
        assert fetch(tmp_path, url, size=len(DATA)).ok
        short = fetch(tmp_path / "other", url, "b.safetensors", size=len(DATA) + 1)
    assert not short.ok and not short.request.target.exists()


def test_ranges_are_used_where_the_server_knows_them_though_it_tells_no_size(tmp_path: Path) -> None:
    terse = Terse("ranges", weights(20 * MIB))
    with serving(terse) as url:
        assert fetch(tmp_path, url).ok
    assert terse.asked[:2] == ["HEAD", "GET 0-0"] and len(terse.asked) > 3
    assert all("-" in item for item in terse.asked[1:])


@pytest.mark.parametrize("way", ["chunked", "closing"])
@pytest.mark.parametrize("etag", ["", '"one"'])
def test_a_stream_that_breaks_off_begins_anew_or_goes_on_and_is_whole_in_the_end(
    way: str, etag: str, tmp_path: Path
) -> None:
    with serving(Terse(way, cuts=2, etag=etag)) as url:
        result = fetch(tmp_path, url)
        assert result.ok, result.error
    assert result.request.target.read_bytes() == DATA


def test_a_file_whose_end_nobody_can_prove_is_refused(tmp_path: Path) -> None:
    with serving(Terse("closing", b"x" * 100_000)) as url:
        refused = fetch(tmp_path, url, "a.dat")
        assert refused.error is not None and "does not say where the file ends" in refused.error.message
        assert list(tmp_path.iterdir()) == []
        digest = hashlib.sha256(b"x" * 100_000).hexdigest()
        assert fetch(tmp_path, url, "a.dat", sha256=digest).ok
    with serving(Terse("chunked", b"x" * 100_000)) as url:
        assert fetch(tmp_path, url, "b.dat").size == 100_000


def test_an_empty_file_of_unknown_size_is_a_file(tmp_path: Path) -> None:
    with serving(Terse("chunked", b"")) as url:
        assert fetch(tmp_path, url, "a.dat", check=None).size == 0


def test_its_own_header_tells_how_far_a_stream_is(tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    with serving(Terse("chunked")) as url:
        request = FileRequest("a", tmp_path / "a.sft", (url,), measure=formats.measurer("a.sft"))
        (result,) = Transfers(TransferSettings(limit_rate=2_500_000)).run([request], seen.append)
    assert result.ok
    told = [item for item in seen if item.status == "downloading" and item.downloaded_bytes]
    assert told and {item.total_bytes for item in told} <= {0, len(DATA)} and told[-1].total_bytes == len(DATA)
    assert told[-1].eta_seconds is not None and 0 < (told[-1].percent or 0) <= 100
