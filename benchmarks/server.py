"""The server that is measured against: the simulator in a process of its own, or a running one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def comfyops() -> str:
    """The installed command of this environment."""
    beside = Path(sys.executable).with_name("comfyops")
    found = str(beside) if beside.is_file() else shutil.which("comfyops")
    if found is None:
        raise FileNotFoundError("the command comfyops is not installed; run `make bench`")
    return found


@contextmanager
def server(address: str | None, *options: str) -> Iterator[tuple[str, str]]:
    """(address, what it is) of a server: the given one, else a simulator that lives until the block is left.

    `options` are more of the simulator's.
    """
    if address:
        yield address.rstrip("/"), address
        return
    arguments = [comfyops(), "simulate", "--port", "0", "--json", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield envelope(process.stdout)["data"]["url"], "simulator"
        finally:
            process.terminate()


def envelope(stream: IO[str]) -> dict[str, dict[str, str]]:
    """The first JSON envelope that a command prints. Raises RuntimeError where it ends before that."""
    lines = []
    for line in stream:
        lines.append(line)
        if line.rstrip("\n") == "}":
            return json.loads("".join(lines))
    raise RuntimeError("the server did not start; see why by starting it by hand")
