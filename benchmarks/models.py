"""How long it takes to know that a thousand models are there and right, once their hashes are remembered."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.server import comfyops
from benchmarks.table import Row
from benchmarks.timing import command, interleaved
from comfyops.models import catalog, hashing, stamps, storage
from comfyops.models.catalog import Wanted
from comfyops.models.entry import ModelEntry
from comfyops.models.provision import Provision
from comfyops.models.sources import Web
from comfyops.models.trust import Trust

GOAL_CHECK = 200.0
MIB = 1 << 20


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Checks in this process and as whole commands; the server plays no part."""
    count = 100 if quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        yield from _checks(Path(folder), count, 3 if quick else 15)
    with tempfile.TemporaryDirectory() as folder:
        yield from _hashing(Path(folder), 32 * MIB if quick else 256 * MIB)


def _checks(folder: Path, count: int, times: int) -> Iterator[Row]:
    models = [_model(folder, number) for number in range(count)]
    wanted = [Wanted(model) for model in models]
    _provision(folder).check(wanted, deep=True)
    listed = [{"folder": item.folder, "file": item.file, "size": item.size, "sha256": item.sha256} for item in models]
    file = folder / "catalog.json"
    file.write_text(json.dumps({"models": [{**item, "required_in": ["all"]} for item in listed]}))
    words = ("models", "check", "--json", "--catalog", str(file), "-g", "all", "--models-dir", str(folder))
    work = {
        "check": lambda: _provision(folder).check(wanted),
        "catalog": catalog.load,
        "command": command(comfyops(), *words),
        "help": command(comfyops(), "models", "--help"),
    }
    ms = {name: seconds * 1000 for name, seconds in interleaved(work, times).items()}
    how = f"{count} files with remembered hashes, stamps read anew each time"
    yield Row("models", f"check of {count} models", ms["check"], "ms", how, GOAL_CHECK)
    yield Row("models", "the shipped catalog, read", ms["catalog"], "ms", f"{len(catalog.load().models)} models")
    beside = f"whole process, with its own catalog of {count}; `comfyops models --help` alone {ms['help']:.0f} ms"
    yield Row("models", f"comfyops models check, {count} models", ms["command"], "ms", beside)


def _hashing(folder: Path, size: int) -> Iterator[Row]:
    files = [folder / f"{number}.bin" for number in range(4)]
    for file in files:
        file.write_bytes(os.urandom(MIB) * (size // MIB // len(files)))
    work = {
        "ours": lambda: hashing.hash_files(files, stamps.load(folder / "none")),
        "plain": lambda: [_digest(file) for file in files],
    }
    seconds = interleaved(work, 3)
    rate = size / MIB / seconds["ours"]
    beside = f"hashlib.file_digest one after the other: {size / MIB / seconds['plain']:.0f} MiB/s"
    yield Row("models", "verify, files in the page cache", rate, "MiB/s", beside)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _model(folder: Path, number: int) -> ModelEntry:
    """A small safetensors file of its own content."""
    data = hashlib.shake_128(str(number).encode()).digest(256)
    header = json.dumps({"w": {"dtype": "U8", "shape": [256], "data_offsets": [0, 256]}}).encode()
    whole = struct.pack("<Q", len(header)) + header + data
    path = folder / "loras" / f"model-{number}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole)
    return ModelEntry("loras", path.name, (), len(whole), hashlib.sha256(whole).hexdigest())


def _provision(folder: Path) -> Provision:
    return Provision(storage.of_folder(folder), Web(Trust(), offline=True))
