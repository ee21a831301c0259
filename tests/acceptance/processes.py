"""The installed command as a process, and servers for it to meet."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance import warm

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMMAND = str(Path(sys.executable).with_name("comfyops"))
SECONDS = 40.0
"""How long anything may take on a busy machine before a test calls it hanging."""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """What it printed with --json: one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def data(self) -> Any:
        """The data of its envelope; the command went well."""
        assert self.envelope["ok"] is True, self
        return self.envelope["data"]

    def failed_with(self, code: str, *words: str, exit_code: int = 1) -> None:
        """Assert that it ended with this error in plain words, and nothing on stdout."""
        assert self.code == exit_code, self
        assert self.err.splitlines()[-2 if "hint:" in self.err else -1].startswith(f"error ({code}): "), self
        assert all(word in self.err for word in words), self
        assert "Traceback" not in self.err and self.out == "", self


def environment(**extra: str) -> dict[str, str]:
    """The environment of a command: ours without any setting of ComfyOps."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFYOPS_", "COMFYUI_"))}
    return {**kept, **extra}


def comfyops(
    *arguments: str | Path,
    folder: Path | None = None,
    stdin: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> Done:
    """Run a command to its end."""
    if warm.suits(variables or {}):
        words, whole = [str(word) for word in arguments], environment(**(variables or {}))
        code, out, err = warm.warm().run(words, folder, whole, stdin or b"", SECONDS)
        return Done(code, out.decode(), err.decode())
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(**(variables or {})),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=SECONDS,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def started(
    *arguments: str | Path, folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command that runs while the block does; it is ended at the end of the block, if it has not ended by itself."""
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(**(variables or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str], by: signal.Signals) -> Done:
    """Send a signal to a command and wait for its end."""
    process.send_signal(by)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for a command's end."""
    out, err = process.communicate(timeout=SECONDS)
    return Done(process.returncode, out, err)


@dataclass(frozen=True)
class Server:
    """A simulated server that runs as a process."""

    url: str
    process: subprocess.Popen[str]

    def get(self, route: str) -> Any:
        """The JSON of a GET."""
        return get(self.url + route)

    def queue(self) -> tuple[list[str], list[str]]:
        """Ids of running and of pending jobs."""
        queue = self.get("/queue")
        return [item[1] for item in queue["queue_running"]], [item[1] for item in queue["queue_pending"]]

    def running(self) -> str:
        """The id of the running job, once there is one."""
        wait_until(lambda: self.queue()[0])
        return self.queue()[0][0]


@contextmanager
def simulated(*options: str | Path) -> Iterator[Server]:
    """`comfyops simulate` on a free port."""
    with started("simulate", "--port", "0", "--json", *options) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, f"the simulator did not start: {process.communicate()[1]}"
            text += line
        yield Server(json.loads(text)["data"]["url"], process)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A web server in a thread of this process, that answers every request with `answer`; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request)

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def get(url: str) -> Any:
    """The JSON of a GET."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return json.load(answer)


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)
