"""Sources that cannot be reached, with real closed ports: how many attempts they cost, not how long they take."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comfyops.models.transfer import FileRequest, FileResult, Transfers, TransferSettings
from comfyops.testing.model_hub import Faults, ModelHub

NAME = "org/repo/a.safetensors"
DATA = random.Random(3).randbytes(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
PATIENT = TransferSettings(attempts=1000)
"""So many attempts that a test which uses them all never ends."""


def closed_port() -> str:
    """An address at which nothing listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{line.getsockname()[1]}/a"


@contextmanager
def hangs_up() -> Iterator[tuple[str, list[int]]]:
    """A server that accepts and closes at once; the list has one entry a connection."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                seen.append(1)
                line.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a", seen
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def fetch(folder: Path, *urls: str, count: int = 1, settings: TransferSettings = PATIENT) -> tuple[FileResult, ...]:
    """Files of the same addresses."""
    requests = [FileRequest(f"{n}", folder / f"{n}.bin", urls, sha256=SHA) for n in range(count)]
    return Transfers(settings).run(requests)


@pytest.mark.timeout(60)
def test_nobody_there_is_told_though_many_attempts_are_allowed(tmp_path: Path) -> None:
    for result in fetch(tmp_path, closed_port(), closed_port(), closed_port(), count=20):
        assert result.error is not None and result.error.code == "download" and "refused" in result.error.message
        assert len(result.error.facts["reasons"]) == 3


@pytest.mark.timeout(60)
def test_a_name_that_does_not_resolve_is_told(tmp_path: Path) -> None:
    (result,) = fetch(tmp_path, "http://no-such-host.invalid/a", "http://neither-this.invalid/a")
    assert result.error is not None and result.error.code == "download"


@pytest.mark.timeout(60)
def test_the_next_mirror_has_its_turn_at_once(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub, hangs_up() as (rude, seen):
        (result,) = fetch(tmp_path, closed_port(), rude, "http://no-such-host.invalid/a", hub.url(NAME))
        assert result.ok and result.request.target.read_bytes() == DATA
        assert len(seen) == 1


@pytest.mark.timeout(60)
def test_a_server_that_only_hangs_up_is_given_up_after_a_few_attempts(tmp_path: Path) -> None:
    with hangs_up() as (rude, seen):
        (result,) = fetch(tmp_path, rude)
        assert result.error is not None and 1 < len(seen) < 10


@pytest.mark.timeout(60)
def test_a_store_that_is_gone_sends_to_the_mirror(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(always=("store", 500))) as bad, ModelHub({NAME: DATA}) as good:
        (result,) = fetch(tmp_path, bad.url(NAME), good.url(NAME))
        assert result.ok and len(bad.asked("store")) < 20


def test_a_busy_source_is_asked_again_when_its_mirrors_have_nothing(tmp_path: Path) -> None:
    busy = Faults(statuses=tuple(("hub", 503, {}) for _ in range(5)))
    with ModelHub({NAME: DATA}, busy) as hub, ModelHub({}) as empty:
        (result,) = fetch(tmp_path, hub.url(NAME), empty.url(NAME))
        assert result.ok


def test_a_source_that_was_reached_and_then_goes_away_is_waited_for(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(throttle=200_000)) as first:
        port, seen = int(first.endpoint.rpartition(":")[2]), threading.Event()
        url = first.plain_url(NAME)
        results: list[tuple[FileResult, ...]] = []
        transfers = Transfers(PATIENT)
        request = FileRequest("a", tmp_path / "a.bin", (url,), sha256=SHA)
        run = threading.Thread(
            target=lambda: results.append(transfers.run([request], lambda p: p.downloaded_bytes and seen.set()))
        )
        run.start()
        assert seen.wait(20)
    with socket.socket() as line:  # nobody listens there for a while
        assert line.connect_ex(("127.0.0.1", port)) != 0
    with ModelHub({NAME: DATA}, port=port):
        run.join(40)
    assert results and results[0][0].ok and request.target.read_bytes() == DATA


@pytest.mark.timeout(60)
def test_a_source_that_says_nothing_is_not_waited_for_once_it_is_cancelled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = TransferSettings(stall_timeout=600)
        transfers = Transfers(settings)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        ends: list[FileResult] = []
        request = FileRequest("a", tmp_path / "a.bin", (url,), sha256=SHA)
        thread = threading.Thread(target=lambda: ends.extend(transfers.run([request])), daemon=True)
        thread.start()
        line, _ = server.accept()
        assert line.recv(4) == b"HEAD"
        transfers.cancel()
        thread.join(30)
        line.close()
    (result,) = ends
    assert result.error is not None and result.error.code == "download_cancelled"
