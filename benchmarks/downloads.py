"""How fast model files come, beside aria2c, curl and `hf download`, from a simulated hub on loopback.

Ours always hashes what comes and flushes it to the disk; the others do neither, except where it says so. A ratio is the
median of ours over the median of the other's, taken in turn. Programs that are not installed are left out.

Both ends run on this machine: without a throttle they share its processors, and the disk is the limit where it is
slower than they are, since ours alone waits for it. Ours asks for ranges of 4 MiB here, of far servers for longer
ones: where each response is cut after 8 MB or more, most of its responses are shorter than that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import Row
from benchmarks.timing import Seconds, interleaved
from comfyops.models import stamps
from comfyops.models.hashing import hash_files
from comfyops.models.transfer import FileRequest, Transfers
from comfyops.models.transfer.hasher import sha256_of
from comfyops.testing.model_hub import Faults, ModelHub

MIB = 1 << 20
SUBJECT = "downloads"
CONNECTION = 20e6  # bytes per second, where throttled
NAME = "model.bin"


@dataclass(frozen=True, slots=True)
class Bench:
    """A file on a hub of another process, and the folder to fetch it into."""

    folder: Path
    endpoint: str
    sha256: str
    certificate: Path | None = None

    @property
    def url(self) -> str:
        """The file's address at the hub."""
        return f"{self.endpoint}/org/repo/resolve/main/{NAME}"

    def fetch(self, *command: str, **environment: str) -> Callable[[], object]:
        """Running a program that fetches the file into an empty folder `out`; raises where it fails."""

        def do() -> object:
            shutil.rmtree(self.folder / "out", ignore_errors=True)
            (self.folder / "out").mkdir()
            done = subprocess.run(
                command, cwd=self.folder / "out", env={**os.environ, **environment}, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise RuntimeError(f"{command[0]} failed: {done.stderr[-300:]}")
            return done.stdout

        return do


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Every way to fetch, on slow and fast connections; `server` is not used."""
    repeats = 1 if quick else 3
    disk = Path("bench-output").absolute()
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="downloads-", dir=disk) as name:
        folder = Path(name)
        yield from throttled(folder, 24 * MIB if quick else 1024 * MIB, repeats)
        yield from unthrottled(folder, 24 * MIB if quick else 2048 * MIB, repeats, None)
        certificate = self_made_certificate(folder)
        if certificate is not None:
            yield from unthrottled(folder, 24 * MIB if quick else 2048 * MIB, repeats, certificate)
        yield from killed(folder, 24 * MIB if quick else 256 * MIB, repeats)
        yield from verified(folder, 24 * MIB if quick else 2048 * MIB, repeats)


def throttled(folder: Path, size: int, repeats: int) -> Iterator[Row]:
    """20 MB/s a connection, as hubs do; then with connections that are cut."""
    how = f"{size // MIB} MiB, 20 MB/s a connection, SHA-256 and fsync in ours"
    with hub(folder, size, "--throttle", str(CONNECTION)) as bench:
        ways = engines(bench)
        taken = interleaved({name: ways[name] for name in ("ours", "aria2c") if name in ways}, repeats)
        taken |= {name: once(ways[name]) for name in ("hf",) if name in ways}
        yield Row(SUBJECT, "20 MB/s a connection", taken["ours"], "s", how)
        yield from ratios(taken, "20 MB/s a connection", how, aria2c=1.0, hf=0.08)
    with hub(folder, size, "--throttle", str(CONNECTION), "--drop-after", "8000000", "64000000") as bench:
        ways = engines(bench)
        taken = interleaved({name: ways[name] for name in ("ours", "aria2c") if name in ways}, repeats)
        yield from ratios(taken, "dropped connections", f"{how}, cut after 8 to 64 MB", aria2c=1.0)


def unthrottled(folder: Path, size: int, repeats: int, certificate: Path | None) -> Iterator[Row]:
    """As fast as this machine can, hub included."""
    what = "unthrottled" if certificate is None else "https"
    how = f"{size // MIB} MiB, both ends on this machine, on disk"
    options = () if certificate is None else ("--certificate", str(certificate))
    with hub(folder, size, *options) as bench:
        ways = engines(bench)
        taken = interleaved(ways, repeats)
        memory = float(str(ways["ours"]()).split()[0])
        yield Row(SUBJECT, what, taken["ours"], "s", how)
        if certificate is None:
            yield from ratios(taken, what, how, aria2c=0.65, hf=0.25, curl=None, checksum=None)
            yield Row(SUBJECT, "memory", memory, "MB", f"{size // MIB} MiB, 16 connections", goal=100)
        else:
            yield from ratios(taken, what, how, aria2c=1.3, hf=0.65, curl=None, checksum=None)


def ratios(taken: Seconds, what: str, how: str, **goals: float | None) -> Iterator[Row]:
    """Ours over the others that were there."""
    words = {"aria2c": "aria2c -x16", "checksum": "aria2c -x16 --checksum", "hf": "hf download", "curl": "curl"}
    for name, goal in goals.items():
        if name in taken:
            yield Row(SUBJECT, f"{what}, times {words[name]}", taken["ours"] / taken[name], "x", how, goal=goal)


def engines(bench: Bench) -> dict[str, Callable[[], object]]:
    """The commands to compare, ours first; those that are installed."""
    authority = str(bench.certificate or "")
    ours = [sys.executable, "-m", "benchmarks.fetch_one", bench.url, str(bench.folder / "out" / NAME), bench.sha256]
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    ways = {"ours": bench.fetch(*ours, COMFYOPS_BENCH_CA=authority, PYTHONPATH=path)}
    trust = [f"--ca-certificate={authority}"] if authority else []
    if shutil.which("aria2c"):
        aria2c = ["aria2c", "-q", "-x16", "-s16", "-k1M", *trust, "-o", NAME]
        ways["aria2c"] = bench.fetch(*aria2c, bench.url)
        ways["checksum"] = bench.fetch(*aria2c, f"--checksum=sha-256={bench.sha256}", bench.url)
    if shutil.which("curl"):
        ways["curl"] = bench.fetch(
            "curl", "-sfL", *(["--cacert", authority] if authority else []), "-o", NAME, bench.url
        )
    hf = shutil.which("hf", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if hf:
        settings = {"HF_ENDPOINT": bench.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(bench.folder / "hf-home")}
        settings |= {"SSL_CERT_FILE": authority} if authority else {}
        ways["hf"] = bench.fetch(hf, "download", "org/repo", NAME, "--local-dir", ".", **settings)
    return ways


def killed(folder: Path, size: int, repeats: int) -> Iterator[Row]:
    """What a kill -9 costs, and how often the hub is asked."""
    file = weights(folder, size)
    rate = size / 4.0  # altogether: four seconds for the file
    lost: list[float] = []
    with ModelHub({f"org/repo/{NAME}": file}, Faults(throttle=rate / 16)) as here:
        url = here.url(f"org/repo/{NAME}")
        for number in range(repeats):
            before = here.sent()
            target = folder / f"killed-{number}" / NAME
            process = subprocess.Popen([sys.executable, "-m", "benchmarks.fetch_one", url, str(target)], stdout=-3)
            time.sleep(2.0 + 0.13 * number)
            process.kill()
            process.wait()
            Transfers().run([FileRequest("again", target, (url,))])
            lost.append((here.sent() - before - size) / rate)
        here.faults = Faults()
        asked = len(here.asked("hub"))
        (result,) = Transfers().run([FileRequest("last", folder / "last" / NAME, (url,))])
        requests = len(here.asked("hub")) - asked
    how = f"{repeats} times, the worst; what was on its way in sockets included"
    yield Row(SUBJECT, "fetched again after kill -9", max(lost), "s of traffic", how, goal=0.5)
    yield Row(SUBJECT, "requests to the hub a file", float(requests), "", f"{result.size // MIB} MiB", goal=1)


def verified(folder: Path, size: int, repeats: int) -> Iterator[Row]:
    """Reading every byte of many files of different sizes, beside two threads that do nothing but hash half each."""
    shares = [9, 1, 2, 7, 3, 1, 5, 4]
    files = [folder / f"verified-{number}.bin" for number in range(len(shares))]
    for file, share in zip(files, shares, strict=True):
        with file.open("wb") as out:
            for _ in range(size * share // sum(shares) // MIB):
                out.write(os.urandom(MIB))

    def plain() -> None:
        halves = [threading.Thread(target=lambda half=half: [digest(file) for file in half]) for half in halved]
        for thread in halves:
            thread.start()
        for thread in halves:
            thread.join()

    halved = [[files[0], files[3]], [file for number, file in enumerate(files) if number not in (0, 3)]]
    taken = interleaved(
        {
            "ours": lambda: hash_files(files, stamps.load(folder / "none"), on_progress=lambda told: None),
            "plain": plain,
        },
        max(repeats, 5),
    )
    how = f"{len(files)} files of {size // MIB} MiB together, in the page cache, progress told"
    rate = size / 1e6 / taken["ours"]
    yield Row(SUBJECT, "verify of many files", rate, "MB/s", how)
    yield Row(
        SUBJECT, "verify, times two plain hashing threads", taken["ours"] / taken["plain"], "x", how, goal=1 / 0.9
    )


def digest(file: Path) -> str:
    """The SHA-256 of a file, by Python's own means."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def once(do: Callable[[], object]) -> float:
    """Seconds of one run."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


@contextmanager
def hub(folder: Path, size: int, *options: str) -> Iterator[Bench]:
    """A hub in a process of its own that serves one file."""
    file = weights(folder, size)
    command = [sys.executable, "-m", "comfyops.testing.model_hub", str(file), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().split()[0]
        certificate = Path(options[options.index("--certificate") + 1]) if "--certificate" in options else None
        yield Bench(folder, endpoint, sha256_of(file), certificate)
    finally:
        process.terminate()
        process.communicate()


def weights(folder: Path, size: int) -> Path:
    """A file of so many random bytes, made once."""
    file = folder / f"served-{size}" / NAME
    if not file.exists():
        file.parent.mkdir()
        with file.open("wb") as out:
            for _ in range(size // (8 * MIB)):
                out.write(os.urandom(8 * MIB))
    return file


def self_made_certificate(folder: Path) -> Path | None:
    """A certificate with its key for 127.0.0.1; None where there is no openssl."""
    if shutil.which("openssl") is None:
        return None
    file = folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=bench -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", str(file), "-out", str(file)], check=True, capture_output=True)
    return file
