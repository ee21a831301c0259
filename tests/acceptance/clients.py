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

PACKAGE = "@comfyorg/sdk@0.1.9"
"""The release of the SDK for JavaScript that the tests were written against."""

_SECONDS = 300.0
_NPM_UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "E404", "E403")
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


def node() -> str:
    """The program that runs JavaScript; skips where there is none."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("there is no node with npm on the PATH")
    return found


@pytest.fixture(scope="session")
def javascript() -> Path:
    """A folder with the scripts of the SDK for JavaScript, where it is installed; skips where it cannot be had."""
    node()
    folder = CACHE / PACKAGE.replace("@", "").replace("/", "-")
    CACHE.mkdir(exist_ok=True)
    with _alone(CACHE / "lock"):
        if not (folder / "complete").is_file():
            _install(folder)
        for script in Path(__file__).parent.glob("*.mjs"):
            shutil.copy(script, folder)
    return folder


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        if any(words in done.stderr for words in _NPM_UNREACHABLE):
            pytest.skip(f"{PACKAGE} cannot be had from the package index: {done.stderr.strip()[-200:]}")
        raise AssertionError(done.stderr)
    (folder / "complete").touch()


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
