"""README and quickstart, typed in: every shell command and every piece of Python on them runs, on the simulator.

A block in `sh` is run as it stands; a comment before it may say `not run: REASON`, `another terminal` (a server, which
is started on a free port), or `exit code N`. A block of `text` right after one is what it prints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.doc_pages import DOCS, ROOT, Block, blocks

PAGES = {"README": ROOT / "README.md", "quickstart": DOCS / "quickstart.md"}


@contextmanager
def server(block: Block, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The address of the server that a block starts."""
    arguments = [*block.text.split(), "--port", "0", "--json"]
    assert arguments[:2] == ["comfyops", "simulate"]
    with (folder / "simulator.log").open("wb") as log:
        process = subprocess.Popen(
            arguments, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        yield json.loads(text)["data"]["url"]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples that the pages name."""
    (tmp_path / "docs").symlink_to(DOCS)
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """The environment of somebody who has only the command, and no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFY", "PYTHON"))}
    scripts = str(Path(sys.executable).parent)
    return kept | {"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(folder)}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_example_works(page: str, folder: Path, environment: dict[str, str]) -> None:
    found = blocks(PAGES[page])
    start = next(block for block in found if block.note == "another terminal")
    with server(start, environment, folder) as url:
        environment["COMFYUI_URL"] = url
        printed, ran = "", 0
        for block in found:
            if block.kind == "text":
                assert printed == block.text
            if block.kind not in ("sh", "python") or block.is_skipped or block is start:
                continue
            printed = run(block, environment, folder)
            ran += 1
    assert ran >= 4


def run(block: Block, environment: dict[str, str], folder: Path) -> str:
    """What a block prints on stdout; it has to end with the exit code that it names."""
    shell = ["bash", "-euo", "pipefail", "-c", block.text]
    command = shell if block.kind == "sh" else [sys.executable, "-c", block.text]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == block.exit_code, f"{block.text}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_what_is_not_run_says_why() -> None:
    skipped = [block.note for page in PAGES.values() for block in blocks(page) if block.is_skipped]
    assert skipped and all(len(note) > len("not run: ") + 10 for note in skipped)


def test_the_simulators_page_has_a_working_example(environment: dict[str, str], folder: Path) -> None:
    (example,) = [block for block in blocks(DOCS / "simulator.md") if block.kind == "python"]
    assert "simulated GPU" in run(example, environment, folder)
