"""Servers and workers as processes, for tests that kill, freeze and start them again while jobs go on."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue
from comfyops.workflows import api_format
from comfyops.workflows.graph import GraphBuilder
from tests.acceptance.processes import COMMAND, environment
from tests.postgresql import PostgreSQL

SECONDS = 90.0
"""How long anything may take on a busy machine before a test calls it hanging."""


def color(number: int) -> int:
    """The colour of a job's picture before it is inverted: of no other job, also where an inversion rounds."""
    return 4 * number


def graph(number: int) -> dict[str, Any]:
    """A graph of a few nodes that makes one picture which no other number makes."""
    builder = GraphBuilder()
    image = builder.add("EmptyImage", width=16, height=16, batch_size=1, color=color(number))
    for _ in range(3):
        image = builder.add("ImageInvert", image=image[0])
    builder.add("SaveImage", images=image[0], filename_prefix=f"job-{number}")
    return api_format.dump(builder.build())


def work(number: int) -> Submission:
    """The job that makes this picture."""
    return Submission(graph(number), name=str(number))


@dataclass
class Process:
    """A command that runs until it is ended; `words` is the first line it prints."""

    arguments: tuple[str, ...]
    folder: Path
    words: dict[str, object] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    record: Path = Path()
    command: tuple[str, ...] = (COMMAND,)
    _running: subprocess.Popen[str] | None = None

    def start(self) -> Process:
        """Start it, and wait until it says that it is ready."""
        with (self.folder / "errors.log").open("a") as errors:
            self._running = subprocess.Popen(
                [*self.command, *self.arguments, "--json"],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(**self.environment),
            )
        assert self._running.stdout is not None
        text = ""
        for line in self._running.stdout:
            text += line
            if line == "}\n":
                answer = json.loads(text)
                assert answer["ok"], answer
                self.words = answer["data"]
                return self
        raise AssertionError((self.folder / "errors.log").read_text()[-2000:])

    @property
    def environment(self) -> dict[str, str]:
        """Its settings, as variables."""
        home = str(self.folder)
        settings = {"COMFYOPS_QUEUE_FOLDER": f"{home}/queue", "COMFYOPS_WORKER_LEASE": "3"}
        return {"HOME": home, "COMFYOPS_HOME": f"{home}/home", **settings, **self.settings}

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        assert self._running is not None
        self._running.send_signal(what)

    @property
    def lives(self) -> bool:
        """Whether it was started and has not ended."""
        return self._running is not None and self._running.poll() is None

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait until it is gone."""
        if self._running is not None:
            self._running.send_signal(signal.SIGCONT)
            self._running.send_signal(how)
            self._running.wait(SECONDS)
            assert self._running.stdout is not None
            self._running.stdout.close()
            self._running = None


class World:
    """A fleet of simulated servers, and workers on one database."""

    def __init__(self, database: str, folder: Path) -> None:
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/queue/queue.db"
        self.postgresql: PostgreSQL | None = None
        self.servers: list[Process] = []
        self.workers: list[Process] = []

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        for process in [*self.workers, *self.servers]:
            process.end()

    @property
    def records(self) -> dict[str, Path]:
        """What the servers recorded, by their addresses."""
        return {str(server.words["url"]): server.record for server in self.servers}

    def open(self) -> Queue:
        """The queue, as a client of it."""
        return Queue(self.database, self.folder / "queue")

    def server(self, *options: str) -> Process:
        """Start a simulated server; started again it has the same address and files."""
        number = len(self.servers)
        home = self.folder / f"server{number}"
        home.mkdir(parents=True, exist_ok=True)
        record = self.folder / f"runs{number}.jsonl"
        options = (*options, "--home", str(home), "--record", str(record))
        process = Process(("simulate", "--port", "0", *options), self.folder, record=record).start()
        process.arguments = ("simulate", "--port", _port(process.words["url"]), *options)
        self.servers.append(process)
        return process

    def gateway(self, *options: str) -> Process:
        """Start a gateway before the servers, which carries out jobs too; started again it has the same addresses."""
        backends = [part for server in self.servers for part in ("--backend", str(server.words["url"]))]
        own = {"COMFYOPS_DATABASE": self.database, "COMFYOPS_MAX_WAITING": "2000"}
        arguments = ("serve", *backends, "--max-jobs", "2000", *options)
        ports = ("--port", "0", "--open-listen", "127.0.0.1:0")
        process = Process((*arguments, *ports), self.folder, settings=own).start()
        ports = ("--port", _port(process.words["url"]), "--open-listen", f"127.0.0.1:{_port(process.words['opened'])}")
        process.arguments = (*arguments, *ports)
        self.workers.append(process)
        return process

    def worker(self, name: str = "one") -> Process:
        """Start a worker."""
        self.workers.append(self.new_worker(name).start())
        return self.workers[-1]

    def new_worker(self, name: str, *, older: bool = False) -> Process:
        """A worker that is not started yet; an older one says that it is of another release."""
        worker = Process(("worker", "--database", self.database, "--name", name), self.folder)
        if older:
            worker.command = (sys.executable, str(Path(__file__).with_name("older_worker.py")))
        return worker


def _port(url: object) -> str:
    return str(url).rpartition(":")[2]


async def until(what: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Wait until an async question is answered with yes."""
    give_up = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < give_up, "it does not happen"
        await asyncio.sleep(0.05)
