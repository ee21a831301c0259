"""Commands as processes that are forked from one which has loaded the command already.

Most of what a short command costs is loading it. A forked one has its own streams, folder, environment, signals and
end, as a started one has; COMFYOPS_TEST_ALL=1 starts every command anew, and so does a system other than Linux.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

USABLE = sys.platform == "linux" and os.environ.get("COMFYOPS_TEST_ALL") != "1"
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
_STREAMS = 3


def suits(variables: Mapping[str, str]) -> bool:
    """Whether a forked command sees these variables as a started one does: the interpreter reads some at its start."""
    return USABLE and not any(name.startswith(_AT_START) for name in variables)


class Warm:
    """The process that has loaded the command; it ends when this process does."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair()
        command = [sys.executable, "-P", __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        self._requests.close()
        self._process.wait()

    def run(
        self,
        arguments: Sequence[str],
        folder: Path | None,
        environment: Mapping[str, str],
        stdin: bytes,
        seconds: float,
    ) -> tuple[int, bytes, bytes]:
        """The exit code, stdout and stderr of a command. Raises TimeoutError when it does not end in time."""
        request = {"arguments": list(arguments), "folder": str(folder or Path.cwd()), "environment": dict(environment)}
        mine, theirs = socket.socketpair()
        with mine, TemporaryFile() as told, TemporaryFile() as read, TemporaryFile() as out, TemporaryFile() as err:
            told.write(json.dumps(request).encode())
            read.write(stdin)
            for file in (told, read):
                file.seek(0)
            with theirs:
                _give(self._requests, [file.fileno() for file in (read, out, err, told, theirs)])
            code = _ended(mine, time.monotonic() + seconds)
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()


@cache
def warm() -> Warm:
    """The one of this process."""
    return Warm({name: value for name, value in os.environ.items() if not name.startswith(("COMFYOPS_", "COMFYUI_"))})


def _give(to: socket.socket, handles: Sequence[int]) -> None:
    to.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))])


def _ended(answers: socket.socket, until: float) -> int:
    """The exit code of a command, which is told after its id; one that does not end is killed."""
    answers.settimeout(max(0.0, until - time.monotonic()))
    lines = answers.makefile()
    pid = int(lines.readline())
    try:
        return int(lines.readline())
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise


def _serve(requests: socket.socket) -> list[int]:
    """Fork for each request; gives its files in the process that is to be the command."""
    while True:
        _, handles, *_ = socket.recv_fds(requests, 1, _STREAMS + 2)
        if not handles:  # the tests are over
            sys.exit()
        if os.fork() == 0:
            requests.close()
            return _forked(handles)
        for handle in handles:
            os.close(handle)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _forked(handles: list[int]) -> list[int]:
    """Wait for the command and tell its end; the command itself returns."""
    pid = os.fork()
    if pid == 0:
        return handles
    with socket.socket(fileno=handles.pop()) as answers:
        answers.sendall(f"{pid}\n".encode())
        for handle in handles:
            os.close(handle)
        answers.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def _become(handles: list[int]) -> list[str]:
    """Take the streams, the folder and the environment of a request; gives its arguments."""
    for number, handle in enumerate(handles[:_STREAMS]):
        os.dup2(handle, number)
    with open(handles[_STREAMS], "rb", closefd=False) as file:
        request = json.load(file)
    for handle in handles:
        os.close(handle)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    return list(request["arguments"])


def _load() -> None:
    """Import what commands need; what a command then does with it is its own."""
    from comfyops.cli import commands

    for module in pkgutil.iter_modules(commands.__path__, "comfyops.cli.commands."):
        importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person who stops the tests stops the commands, not this
    _load()
    files = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["comfyops", *_become(files)]
    from comfyops.cli.main import main

    main()
