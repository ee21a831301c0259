"""`Transfers` with a simulated hub: what is fetched, what is not, and what people can do meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from comfyops.errors import IntegrityError, UnsafeNameError, UntrustedSourceError
from comfyops.models.transfer import DownloadProgress, FileRequest, FileResult, Transfers, TransferSettings
from comfyops.models.transfer.ranges import SHORTEST
from comfyops.models.transfer.request import MIB
from comfyops.testing.model_hub import Faults, ModelHub

DATA = random.Random(1).randbytes(20 * MIB)
SHA = hashlib.sha256(DATA).hexdigest()
STOLEN = 4 * MIB
"""What may be on its way over a fast line when another connection takes it over."""
NAME = "org/repo/split files/vä.safetensors"


def ask(hub: ModelHub, folder: Path, name: str = "a", **options: object) -> FileRequest:
    """A request for the hub's file."""
    given = {"sha256": SHA, "urls": (hub.url(NAME),), **options}
    return FileRequest(name, folder / f"{name}.safetensors", **given)  # type: ignore[arg-type]


def run(request: FileRequest, settings: TransferSettings | None = None) -> FileResult:
    """One file's result."""
    (result,) = Transfers(settings).run([request])
    return result


def test_a_file_is_fetched_hashed_and_placed_with_one_request_to_the_hub(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        result = run(ask(hub, tmp_path / "models" / "vae", size=len(DATA)))
        assert (result.ok, result.sha256, result.size, result.trust_on_first_use) == (True, SHA, len(DATA), False)
        assert len(DATA) <= result.downloaded_bytes <= len(DATA) + STOLEN and result.reused_bytes == 0
        assert result.request.target.read_bytes() == DATA
        assert [path.name for path in result.request.target.parent.iterdir()] == ["a.safetensors"]
        assert len(hub.asked("hub")) == 1


def test_a_file_that_is_there_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(DATA)
    with ModelHub({NAME: DATA}) as hub:
        result = run(ask(hub, tmp_path))
        assert (result.ok, result.downloaded_bytes, result.reused_bytes) == (True, 0, len(DATA))
        assert hub.requests == []


def test_another_file_in_its_place_is_kept_aside(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"my own merge")
    with ModelHub({NAME: DATA}) as hub:
        assert run(ask(hub, tmp_path)).ok
    assert target.read_bytes() == DATA
    (kept,) = (tmp_path / ".comfyops-quarantine").iterdir()
    assert kept.name.startswith("a.safetensors.replaced-") and kept.read_bytes() == b"my own merge"


def test_hugging_faces_hash_is_used_where_none_is_pinned(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(wrong_at=0)) as hub:
        assert isinstance(run(ask(hub, tmp_path, sha256=None)).error, IntegrityError)


def test_a_plain_server_is_trusted_on_first_use_and_that_is_said(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        result = run(ask(hub, tmp_path, sha256=None, urls=(hub.plain_url(NAME),)))
        assert (result.ok, result.sha256, result.trust_on_first_use) == (True, SHA, True)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    with ModelHub({"org/repo/empty": b""}) as hub:
        result = run(ask(hub, tmp_path, sha256=None, urls=(hub.url("org/repo/empty"),)))
        assert result.ok and result.request.target.read_bytes() == b""


def test_a_check_that_refuses_keeps_the_file_out(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def refuse(path: Path) -> None:
        seen.append(path.read_bytes()[:10])
        raise IntegrityError("This is a pickle.")

    with ModelHub({NAME: DATA}) as hub:
        result = run(ask(hub, tmp_path, check=refuse), TransferSettings(full_attempts=1))
    assert result.error is not None and result.error.message == "This is a pickle."
    assert seen == [DATA[:10]] and [path.name for path in tmp_path.iterdir()] == [".comfyops-quarantine"]


def test_a_token_goes_to_its_own_host_only(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(gated="GatedRepo", token="hf_x")) as hub:
        own = hub.endpoint.removeprefix("http://")
        settings = TransferSettings(token_for=lambda host: "hf_x" if host == own else "other")
        assert run(ask(hub, tmp_path), settings).ok
        assert {item.token for item in hub.asked("hub")} == {"Bearer hf_x"}
        assert {item.token for item in hub.asked("store")} == {None}
        assert run(ask(hub, tmp_path, "b", urls=(hub.plain_url(NAME),)), settings).ok  # ranges need it too


def test_every_hop_is_asked_about(tmp_path: Path) -> None:
    hops: list[str] = []
    with ModelHub({NAME: DATA}) as hub:
        assert run(ask(hub, tmp_path), TransferSettings(allow=hops.append)).ok
        assert [hop.partition("?")[0].partition("/org")[0] for hop in hops] == [hub.endpoint, f"{hub.store}/blob"]

        def own_host(url: str) -> None:
            if not url.startswith(hub.endpoint):
                raise UntrustedSourceError("Not there.")

        result = run(ask(hub, tmp_path, "b"), TransferSettings(allow=own_host))
        assert isinstance(result.error, UntrustedSourceError) and len(hub.asked("store")) > 0
        assert not result.request.target.exists()


@pytest.mark.parametrize("url", ["ftp://host/a", "file:///etc/passwd", "nonsense", "http://[::1", ""])
def test_a_strange_address_is_refused_in_words(url: str, tmp_path: Path) -> None:
    result = run(FileRequest("a", tmp_path / "a", (url,)))
    assert isinstance(result.error, UntrustedSourceError)


def test_no_address_no_server_and_a_target_that_is_a_folder_are_said(tmp_path: Path) -> None:
    assert run(FileRequest("a", tmp_path / "a", ())).error.code == "download"  # type: ignore[union-attr]
    dead = run(FileRequest("a", tmp_path / "a", ("http://127.0.0.1:9/a",)), TransferSettings(attempts=1))
    assert dead.error is not None and dead.error.code == "download" and "refused" in dead.error.message
    (tmp_path / "d").mkdir()
    assert run(FileRequest("a", tmp_path / "d", (dead.request.urls[0],))).error.code == "storage"  # type: ignore[union-attr]
    (tmp_path / "f").write_text("")
    assert run(FileRequest("a", tmp_path / "f" / "a", ("http://127.0.0.1:9/a",))).error.code == "storage"  # type: ignore[union-attr]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of our own making, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    file = tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", str(file), "-out", str(file)], check=True, capture_output=True)
    return file


def test_https_is_verified(tmp_path: Path, certificate: Path) -> None:
    with ModelHub({NAME: DATA}, certificate=certificate) as hub:
        stranger = run(ask(hub, tmp_path))
        assert isinstance(stranger.error, UntrustedSourceError) and "certificate" in stranger.error.message
        assert stranger.seconds < 5 and hub.requests == []
        friend = run(ask(hub, tmp_path), TransferSettings(ca_file=certificate))
        assert friend.ok and friend.request.target.read_bytes() == DATA


def test_progress_tells_bytes_speed_and_end(tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    with ModelHub({NAME: DATA}, Faults(throttle=1.5e6)) as hub:
        Transfers().run([ask(hub, tmp_path)], seen.append)
    running = [item for item in seen if item.status == "downloading"]
    assert running and all(item.total_bytes == len(DATA) for item in running)
    assert [item.downloaded_bytes for item in running] == sorted(item.downloaded_bytes for item in running)
    assert any(item.speed_mbps > 1 and item.eta_seconds is not None for item in running)
    last = seen[-1]
    assert (last.status, last.downloaded_bytes, last.eta_seconds) == ("completed", len(DATA), 0.0)


def test_a_failure_is_told_too(tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    with ModelHub({NAME: DATA}, Faults(gated="GatedRepo")) as hub:
        (result,) = Transfers().run([ask(hub, tmp_path)], seen.append)
    assert (seen[-1].status, seen[-1].error_message) == ("failed", str(result.error))


def test_cancelling_one_keeps_its_bytes_and_leaves_the_others(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(throttle=1e6)) as hub:
        transfers = Transfers()

        def watch(progress: DownloadProgress) -> None:
            if progress.model_name == "a" and progress.downloaded_bytes > 2 * MIB:
                transfers.cancel("a")
                hub.faults = Faults()

        cancelled, other = transfers.run([ask(hub, tmp_path, "a"), ask(hub, tmp_path, "b")], watch)
        assert cancelled.error is not None and cancelled.error.code == "download_cancelled" and other.ok
        again = run(ask(hub, tmp_path, "a"))
        assert again.ok and again.reused_bytes > MIB and again.downloaded_bytes < len(DATA)


def test_a_stalled_download_is_cancelled_at_once(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(stall_after=1000)) as hub:
        transfers = Transfers(TransferSettings(stall_timeout=60))
        timer = threading.Timer(0.5, transfers.cancel)
        timer.start()
        (result,) = transfers.run([ask(hub, tmp_path)])
        timer.join()
    assert result.error is not None and result.error.code == "download_cancelled" and result.seconds < 10


def test_a_pause_stops_the_bytes_until_it_ends(tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    with ModelHub({NAME: DATA}, Faults(throttle=1e6)) as hub:
        transfers = Transfers()
        results: list[tuple[FileResult, ...]] = []
        thread = threading.Thread(target=lambda: results.append(transfers.run([ask(hub, tmp_path)], seen.append)))
        thread.start()
        _until(lambda: any(item.downloaded_bytes > MIB for item in seen))
        transfers.pause()
        _until(lambda: seen[-1].status == "paused" and not _grows(lambda: seen[-1].downloaded_bytes))
        assert not (tmp_path / "a.safetensors").exists()
        hub.faults = Faults()
        transfers.resume()
        thread.join(30)
        assert results and results[0][0].ok


def _part_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(".*.part"))


def _until(condition: object, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def _grows(value: object) -> bool:
    before = value()  # type: ignore[operator]
    time.sleep(0.5)
    return bool(value() != before)  # type: ignore[operator]


def test_important_files_come_first_and_the_order_can_be_changed(tmp_path: Path) -> None:
    ended: list[str] = []
    with ModelHub({NAME: DATA}, Faults(throttle=8e6)) as hub:
        transfers = Transfers(TransferSettings(files=1))

        def watch(progress: DownloadProgress) -> None:
            if progress.status == "downloading" and progress.model_name == "high":
                transfers.prioritise("last", 9)
            if progress.status == "completed" and progress.model_name not in ended:
                ended.append(progress.model_name)

        requests = [ask(hub, tmp_path, "low"), ask(hub, tmp_path, "last"), ask(hub, tmp_path, "high", priority=5)]
        assert all(result.ok for result in transfers.run(requests, watch))
    assert ended == ["high", "last", "low"]


@pytest.mark.parametrize("priority", [0, 5])
def test_a_file_that_comes_later_gets_its_share_at_once(priority: int, tmp_path: Path) -> None:
    """Not when a connection of another file is done with its segment, which takes twenty seconds here."""
    come: dict[str, int] = {"early": 0, "late": 0}
    with ModelHub({NAME: DATA}, Faults(throttle=SHORTEST / 20)) as hub:
        settings = TransferSettings(connections=2 if priority == 0 else 1, files=2, stall_timeout=60)
        transfers = Transfers(settings, on_ready=lambda transfers: transfers.pause("late"))

        def watch(progress: DownloadProgress) -> None:
            come[progress.model_name] = progress.downloaded_bytes
            if come["early"] and not come["late"]:
                transfers.resume("late")
            if come["late"] or come["early"] > SHORTEST:
                transfers.cancel()

        transfers.run([ask(hub, tmp_path, "early"), ask(hub, tmp_path, "late", priority=priority)], watch)
    assert come["late"] and come["early"] < SHORTEST


def test_a_bandwidth_cap_is_kept_over_all_connections(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA[: 4 * MIB]}) as hub:
        began = time.monotonic()
        settings = TransferSettings(limit_rate=4_000_000)
        requests = [ask(hub, tmp_path, name, sha256=None) for name in "ab"]
        assert all(result.ok for result in Transfers(settings).run(requests))
        assert 1.8 < time.monotonic() - began < 6


def test_many_files_share_the_connections(tmp_path: Path) -> None:
    files = {f"org/repo/{number}.bin": random.Random(number).randbytes(100_000 + number) for number in range(40)}
    with ModelHub(files) as hub:
        requests = [
            FileRequest(name, tmp_path / name.rpartition("/")[2], (hub.url(name),), len(data))
            for name, data in files.items()
        ]
        results = Transfers().run(requests)
        assert [result.sha256 for result in results] == [hashlib.sha256(data).hexdigest() for data in files.values()]
        assert len(hub.asked("hub")) == 40


def test_the_same_target_twice_in_one_plan_is_fetched_once(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        results = Transfers().run([ask(hub, tmp_path), ask(hub, tmp_path)])
        assert all(result.ok for result in results)
        assert sum(result.downloaded_bytes for result in results) <= len(DATA) + STOLEN


def test_a_check_may_raise_any_error_of_the_tree(tmp_path: Path) -> None:
    def refuse(_path: Path) -> None:
        raise UnsafeNameError("This name is not safe.")

    with ModelHub({NAME: DATA}) as hub:
        result = run(ask(hub, tmp_path, check=refuse))
        assert isinstance(result.error, UnsafeNameError) and not result.request.target.exists()


def test_that_nobody_answers_is_said_soon(tmp_path: Path) -> None:
    result = run(FileRequest("a", tmp_path / "a", ("http://127.0.0.1:9/a",)))
    assert result.error is not None and result.error.code == "download" and result.seconds < 5


async def test_a_cancelled_task_stops_the_downloads_and_keeps_what_came(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(throttle=500_000)) as hub:
        task = asyncio.create_task(Transfers().run_async([ask(hub, tmp_path)]))
        await asyncio.to_thread(_until, lambda: _part_size(tmp_path) > 0 and hub.asked("hub"))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hub.faults = Faults()
        (result,) = await Transfers().run_async([ask(hub, tmp_path)])
        assert result.ok and result.reused_bytes > 0
