"""Clients of others in an environment of their own: made once from the package index, kept in a folder here."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".clients"
COMFY_CLI = "comfy-cli==1.23.0"
"""The release that the tests were written against; it brings websocket-client too."""

_SECONDS = 300.0
_UNREACHABLE = ("No matching distribution", "NewConnectionError", "Could not fetch URL", "ConnectTimeout")


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of the clients' programs; skips only where the package index cannot be reached."""
    folder = CACHE / COMFY_CLI.replace("==", "-")
    CACHE.mkdir(exist_ok=True)
    with _alone(CACHE / "lock"):
        if not (folder / "complete").is_file():
            _make(folder)
    return folder / "bin"


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=_SECONDS)
    install = [folder / "bin" / "python", "-m", "pip", "install", "-q", COMFY_CLI]
    done = subprocess.run(install, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        said = done.stderr.strip()
        shutil.rmtree(folder, ignore_errors=True)
        if any(words in said for words in _UNREACHABLE):
            pytest.skip(f"{COMFY_CLI} cannot be had from the package index: {said[-200:]}")
        raise AssertionError(said)
    (folder / "complete").touch()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One of the processes that run tests at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
