"""Programs of others: started, listened to without end, and stopped with everything they started.

A program's output is read all the time: one whose pipe is full would hang. It goes into a file that is kept small by
turning it over, as logs are. On POSIX a program leads a group of its own, so that Ctrl-C reaches us alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from comfyops.support.files import storage_error

OnLine = Callable[[str], None]

_CHUNK = 65536
_LONGEST_LINE = 8192  # characters that are passed on; what is longer is cut
_KEPT_LINES = 200
_LINE = re.compile(rb"[\r\n]+")
_POLL_SECONDS = 0.05


class RotatingFile:
    """A log file; once it holds `most` bytes it becomes NAME.1, NAME.1 becomes NAME.2, and so on to `kept` old ones.

    Raises StorageError where it cannot be opened; what cannot be written later (a full disk) is left out.
    """

    def __init__(self, path: Path, most: int = 10 * 1024 * 1024, kept: int = 3) -> None:
        self.path, self._most, self._kept = path, most, kept
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise storage_error(error, path) from error

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with suppress(OSError, ValueError):
            if self._file.tell() + len(data) > self._most:
                self._turn()
            self._file.write(data)

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        for number in range(self._kept - 1, -1, -1):
            old = self.path if number == 0 else self._old(number)
            with suppress(OSError):
                old.replace(self._old(number + 1))
        self._file = self.path.open("ab", buffering=0)

    def _old(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class Process:
    """A running program. Its output (stdout and stderr) goes to `log` and, line by line, to `on_line`, in a thread.

    Raises OSError where it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: RotatingFile,
        on_line: OnLine | None = None,
    ) -> None:
        self._log = log
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._reader = threading.Thread(target=self._drain, name="process output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs. Negative for a signal."""
        return self._process.poll()

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines that it printed."""
        return tuple(self._last)

    async def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code once it ends; None where it still runs after so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            await asyncio.sleep(_POLL_SECONDS)
        return code

    async def stop(self, seconds: float = 10.0) -> int:
        """End it as Ctrl-C would, after so many seconds by force, with all that it started; returns its exit code.

        Being cancelled meanwhile ends it by force at once.
        """
        try:
            if self.exit_code is None:
                self._send(_interrupt())
                if await self.wait(seconds * 0.7) is None:
                    self._send(signal.SIGTERM)
                    await self.wait(seconds * 0.3)
        finally:
            self._kill_all()
            code = self._process.wait()
            self._reader.join(2.0)
            self._close()
        return code

    def _send(self, number: int) -> None:
        with suppress(OSError):
            self._process.send_signal(number)

    def _kill_all(self) -> None:
        """End the group; that reaches what the program left behind too."""
        if sys.platform == "win32":
            if self.exit_code is None:
                self._process.kill()
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _drain(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        with suppress(OSError, ValueError):
            while data := stream.read1(_CHUNK):  # type: ignore[attr-defined]
                self._log.write(data)
                *lines, rest = _LINE.split(rest + data)
                for line in lines:
                    self._tell(line)
                rest = rest[-_CHUNK:]
        self._tell(rest)

    def _tell(self, line: bytes) -> None:
        text = line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if text:
            self._last.append(text)
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        """Tell who listens; one that fails, such as a terminal that is gone, is told no more: the reading goes on."""
        if self._on_line is not None:
            try:
                self._on_line(text)
            except (Exception, SystemExit):  # noqa: BLE001 - a pipe that nobody reads any more would stop the program
                self._on_line = None

    def _close(self) -> None:
        if not self._reader.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def _interrupt() -> int:
    """The signal for Ctrl-C; what is started where that is ignored (in the background of a shell) ignores it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return signal.SIGTERM
    return int(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
