"""Servers and workers as processes, for tests that kill, freeze and start them again while jobs go on."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from comfyops.jobs.job import Filter, Job, JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.workflows import api_format
from comfyops.workflows.graph import GraphBuilder
from tests.acceptance.processes import COMMAND, environment
from tests.postgresql import PostgreSQL

SECONDS = 90.0
"""How long anything may take on a busy machine before a test calls it hanging."""


def work(number: int, owner: str = "me") -> Submission:
    """A job of a few nodes that makes one picture which no other job makes."""
    builder = GraphBuilder()
    image = builder.add("EmptyImage", width=16, height=16, batch_size=1, color=number)
    for _ in range(3):
        image = builder.add("ImageInvert", image=image[0])
    builder.add("SaveImage", images=image[0], filename_prefix=f"job-{owner}-{number}")
    return Submission(api_format.dump(builder.build()), name=str(number))


@dataclass
class Process:
    """A command that runs until it is ended; `words` is the first line it prints."""

    arguments: tuple[str, ...]
    folder: Path
    words: dict[str, object] = field(default_factory=dict)
    _running: subprocess.Popen[str] | None = None

    def start(self) -> Process:
        """Start it, and wait until it says that it is ready."""
        with (self.folder / "errors.log").open("a") as errors:
            self._running = subprocess.Popen(
                [COMMAND, *self.arguments, "--json"],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment(),
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

    def _environment(self) -> dict[str, str]:
        home = str(self.folder)
        settings = {"COMFYOPS_QUEUE_FOLDER": f"{home}/queue", "COMFYOPS_WORKER_LEASE": "3"}
        return environment(HOME=home, COMFYOPS_HOME=f"{home}/home", **settings)

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        assert self._running is not None
        self._running.send_signal(what)

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

    def open(self) -> Queue:
        """The queue, as a client of it."""
        return Queue(self.database, self.folder / "queue")

    def server(self, *options: str) -> Process:
        """Start a simulated server; started again it has the same address and files."""
        number = len(self.servers)
        home = self.folder / f"server{number}"
        home.mkdir(parents=True, exist_ok=True)
        process = Process(("simulate", "--port", "0", "--home", str(home), *options), self.folder).start()
        port = str(process.words["url"]).rpartition(":")[2]
        process.arguments = ("simulate", "--port", port, "--home", str(home), *options)
        self.servers.append(process)
        return process

    def worker(self, name: str = "one") -> Process:
        """Start a worker."""
        self.workers.append(self.new_worker(name).start())
        return self.workers[-1]

    def new_worker(self, name: str) -> Process:
        """A worker that is not started yet."""
        return Process(("worker", "--database", self.database, "--name", name), self.folder)


async def until(what: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Wait until an async question is answered with yes."""
    give_up = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < give_up, "it does not happen"
        await asyncio.sleep(0.05)


async def all_jobs(queue: Queue) -> list[Job]:
    """Every job."""
    page = await queue.ls(Filter(limit=1000, oldest_first=True))
    jobs = list(page.jobs)
    while page.cursor:
        page = await queue.ls(Filter(limit=1000, oldest_first=True), page.cursor)
        jobs += page.jobs
    return jobs


async def all_over(queue: Queue) -> bool:
    """Whether no job is left to do."""
    return all(job.state.over for job in await all_jobs(queue))


async def check_exactly_once(queue: Queue, count: int) -> None:
    """Assert that each job is done, once in effect, with the file that it alone makes."""
    jobs = await all_jobs(queue)
    assert len(jobs) == count
    assert [(job.name, job.state, job.error) for job in jobs if job.state is not JobState.DONE] == []
    hashes = set()
    for job in jobs:
        outputs = await queue.outputs(job.id)
        attempts = await queue.attempts(job.id)
        assert len(outputs) == 1 and outputs[0].filename.startswith(f"job-me-{job.name}_"), (job, outputs)
        assert queue.files.path(outputs[0].hash).stat().st_size == outputs[0].size > 0
        assert (
            [attempt.outcome for attempt in attempts].count("done")
            == 1
            == sum(a.ended_at is not None for a in attempts[-1:])
        )
        hashes.add(outputs[0].hash)
    assert len(hashes) == count
