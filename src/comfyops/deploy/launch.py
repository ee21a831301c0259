"""Starting the ComfyUI of this machine: its address is free, it starts, it answers, it is stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from comfyops.deploy.python import PythonFacts
from comfyops.deploy.spec import LaunchSpec, arguments
from comfyops.errors import LaunchError, PortInUseError, UsageError
from comfyops.support.processes import OnLine, Process, RotatingFile

START_SECONDS = 600.0
"""How long ComfyUI may take until it answers; custom nodes may take minutes."""

STOP_SECONDS = 15.0
_POLL_SECONDS = 0.2
_ANSWER = aiohttp.ClientTimeout(total=5)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'")


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Everything that a start is made of. `python` runs `main.py` in `root`; its output goes to `log`."""

    root: Path
    python: PythonFacts
    spec: LaunchSpec
    log: Path

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its arguments."""
        return (str(self.python.program), "main.py", *arguments(self.spec, has_gpu=self.python.has_gpu))


@dataclass(frozen=True, slots=True)
class Running:
    """A ComfyUI that answers: where, which version, and the process."""

    url: str
    version: str
    process: Process
    seconds: float
    log: Path

    async def wait(self) -> None:
        """Until it ends by itself. Raises LaunchError where it ended with a failure."""
        code = await self.process.wait()
        if code:
            raise ended(self.process, self.log, "ended by itself")


@asynccontextmanager
async def running(
    plan: LaunchPlan,
    environment: Mapping[str, str],
    *,
    on_line: OnLine | None = None,
    start_seconds: float = START_SECONDS,
) -> AsyncIterator[Running]:
    """A ComfyUI for as long as the block runs; it is stopped at its end, however that comes.

    Raises PortInUseError, LaunchError with the end of its log, StorageError for the log's folder.
    """
    await check_port(plan.spec)
    began = time.monotonic()
    process = _start(plan, environment, on_line)
    try:
        version = await answering(plan, process, start_seconds)
        yield Running(plan.spec.url, version, process, time.monotonic() - began, plan.log)
    finally:
        await process.stop(STOP_SECONDS)


async def check_port(spec: LaunchSpec) -> None:
    """See that nothing listens on the port.

    Raises PortInUseError naming a ComfyUI that runs there already, UsageError for an address of another machine.
    """
    for host in (item.strip() for item in spec.listen.split(",")):
        try:
            _bind(host, spec.port)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and spec.port:
                raise await _taken(spec, error) from error
            raise UsageError(f"Nothing can listen on {host or 'all addresses'}:{spec.port}: {_why(error)}.") from error


async def answering(plan: LaunchPlan, process: Process, seconds: float) -> str:
    """Wait until ComfyUI answers; gives its version.

    Raises LaunchError where it ends before, or does not answer in so many seconds.
    """
    deadline = time.monotonic() + seconds
    async with aiohttp.ClientSession(timeout=_ANSWER) as session:
        while True:
            if process.exit_code is not None:
                await asyncio.sleep(_POLL_SECONDS)  # its last words are still being read
                raise ended(process, plan.log, "ended before it answered")
            version = await _version(session, plan.spec.url, ours=True)
            if version is not None:
                return version
            if time.monotonic() > deadline:
                words = f"ComfyUI did not answer at {plan.spec.url} within {seconds:g} s."
                raise LaunchError(words, hint=f"Read {plan.log}.", log=str(plan.log), tail=_tail(process))
            await asyncio.sleep(_POLL_SECONDS)


def ended(process: Process, log: Path, how: str) -> LaunchError:
    """The error for a ComfyUI that ended, with its last words and what they mean where that is known."""
    code = process.exit_code
    by = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    tail = _tail(process)
    missing = _NO_MODULE.search(tail[-1]) if tail else None  # earlier ones were warnings
    last = f": {tail[-1][:200].rstrip('.')}" if tail else ""
    hint = f"Read {log}."
    if missing:
        hint = f"Its Python lacks {missing[1]}: install ComfyUI's requirements.txt with it."
    elif code in (-9, 137):
        hint = f"It was killed, mostly because memory ran out; read {log}."
    return LaunchError(f"ComfyUI {how} ({by}){last}.", hint=hint, exit_code=code, log=str(log), tail=tail)


def _start(plan: LaunchPlan, environment: Mapping[str, str], on_line: OnLine | None) -> Process:
    log = RotatingFile(plan.log)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write(f"--- comfyops started {' '.join(plan.command)} in {plan.root} at {started}\n".encode())
    variables = {**environment, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        return Process(plan.command, folder=plan.root, environment=variables, log=log, on_line=on_line)
    except OSError as error:
        log.close()
        raise LaunchError(f"{plan.python.program} cannot be run: {_why(error)}.") from error


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _bind(host: str, port: int) -> None:
    """Listen for a moment, as ComfyUI will."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if os.name != "nt":  # there it would take a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)


async def _taken(spec: LaunchSpec, error: OSError) -> PortInUseError:
    if error.errno == errno.EACCES:
        return PortInUseError(f"Port {spec.port} may not be used: permission is denied.", port=spec.port)
    async with aiohttp.ClientSession(timeout=_ANSWER) as session:
        version = await _version(session, spec.url)
    who = "something else" if version is None else f"a ComfyUI{f' {version}' if version else ''}"
    hint = None if version is None else f"Use it with --server {spec.url}, or choose another port with --port."
    return PortInUseError(f"Port {spec.port} is in use by {who}.", hint=hint, port=spec.port, version=version)


async def _version(session: aiohttp.ClientSession, url: str, *, ours: bool = False) -> str | None:
    """The version of the ComfyUI that answers here ("" = it does not say), None where none does.

    One that is `ours` answers too where it only asks for a login, as with the pack ComfyUI-Login.
    """
    try:
        async with session.get(f"{url}/system_stats", ssl=False) as answer:
            if ours and answer.status == 401:
                return ""
            stats: Any = await answer.json(content_type=None) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
        return None
    system = stats.get("system") if isinstance(stats, dict) else None
    return str(system.get("comfyui_version") or "") if isinstance(system, dict) else None


def _tail(process: Process) -> list[str]:
    return [_COLOURS.sub("", line) for line in process.last_lines[-20:]]


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
