"""A PostgreSQL server of its own for a test session: a free port on loopback, a temporary folder, never as root."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from comfyops.jobs.store import Store

_SECONDS = 60.0  # that starting or stopping may take on a busy machine


@dataclass
class PostgreSQL:
    """A running server. `restart_hard` kills it as a power cut would, and starts it again."""

    port: int
    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    _has_tables: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @staticmethod
    @contextlib.contextmanager
    def started() -> Iterator[PostgreSQL]:
        """A fresh server; the test is skipped where none is installed, or nobody may run it."""
        programs = _programs()
        if programs is None or (os.getuid() == 0 and _other_user() is None):
            pytest.skip("PostgreSQL is not installed, or must not run as root")
        folder = Path(tempfile.mkdtemp(prefix="comfyops-pg-"))
        server = PostgreSQL(_free_port(), folder)
        try:
            if os.getuid() == 0:
                os.chown(folder, *(_other_user() or (0, 0)))
            options = ["-A", "trust", "-U", "test", "-E", "UTF8", "--no-sync", "--locale", "C"]
            subprocess.run(
                [programs / "initdb", "-D", folder / "data", *options], check=True, capture_output=True, **_as_other()
            )
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        programs = _programs()
        assert programs is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *options],
            stdout=log,
            stderr=log,
            **_as_other(),
        )
        log.close()
        self._wait_until_it_answers()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)
            self._process = None

    def restart_hard(self) -> None:
        """Let it die in the middle of everything, and start it again."""
        self.stop(signal.SIGQUIT)
        self.start()

    def freeze(self, seconds: float) -> None:
        """Have the server and every process of it stand still for a while."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        processes = [self._process.pid, *map(int, children)]
        for what in (signal.SIGSTOP, signal.SIGCONT):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, what)
            if what is signal.SIGSTOP:
                time.sleep(seconds)

    def fresh(self, template: str = "template0") -> str:
        """The address of a new, empty database, or of a copy of another."""
        import psycopg

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._address(name)

    def with_tables(self) -> str:
        """The address of a new database with the queue's tables, which are made once."""
        if not self._has_tables:
            address = self.fresh()
            Store(address).close()
            self._has_tables = address.rpartition("/")[2]
        return self.fresh(self._has_tables)

    def _address(self, name: str) -> str:
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"

    def _wait_until_it_answers(self) -> None:
        import psycopg

        give_up = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < give_up, (self.folder / "log").read_text()
                time.sleep(0.05)


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


def _other_user() -> tuple[int, int] | None:
    """User and group to run as, where we are root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    return None


def _as_other() -> dict[str, object]:
    other = _other_user() if os.getuid() == 0 else None
    return {} if other is None else {"user": other[0], "group": other[1], "extra_groups": [], "cwd": "/"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
