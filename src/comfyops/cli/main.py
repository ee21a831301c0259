"""The entry point: what every command shares, from reading the arguments to the exit code.

Exit codes: 0 fine, 1 something failed, 2 the command makes no sense, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

_INTERRUPTED = 130


def main() -> None:
    """Run the command of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; its result goes to stdout, talk to stderr."""
    _prepare_streams()
    try:
        code = _run(list(argv))
        sys.stdout.flush()
        return code
    except OSError as error:
        return _stdout_gone(error)


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-v"]):
        from comfyops import __version__

        print(f"comfyops {__version__}")  # noqa: T201 (before the printer is imported, which costs time)
        return 0
    try:
        from comfyops.cli import logs, output
    except KeyboardInterrupt:
        return _INTERRUPTED
    logging, argv = logs.hoisted(argv)
    try:
        return _carried_out(output, logging, argv)
    finally:
        logs.tear_down()


def _carried_out(output: Any, logging: list[str], argv: list[str]) -> int:
    as_json = "--json" in _before_dashes(argv)
    try:
        result = _invoke([*logging, *argv])
        if result == _INTERRUPTED:  # which is what Typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return int(output.interrupted(as_json=as_json, command=_command(argv)))
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            raise  # help was printed; files of ours fail with errors of ours
        return int(output.failed(error, as_json=as_json, command=_command(argv)))
    return int(output.emit(result, as_json=as_json))


def _invoke(argv: list[str]) -> Any:
    from comfyops.cli.app import build

    return build()(args=argv, prog_name="comfyops", standalone_mode=False)


def _prepare_streams() -> None:
    """Make stdout and stderr something that can be written to, whatever the terminal's characters are."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 (for the life of the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stdout_gone(error: OSError) -> int:
    """Say why stdout cannot be written, unless its reader simply went away (as `head` does)."""
    # What is still buffered goes nowhere, so that the interpreter does not fail on it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        from pathlib import Path

        from comfyops.cli import output
        from comfyops.support.files import storage_error

        output.failed(storage_error(error, Path("standard output")), as_json=False)
    return 1


def _before_dashes(argv: list[str]) -> list[str]:
    return argv[: argv.index("--")] if "--" in argv else argv


def _command(argv: list[str]) -> str:
    """The words that stand first and name a command, as far as there is one."""
    from comfyops.cli.app import build

    command, words = build(), list[str]()
    for word in argv:
        command = command.get_command(None, word) if hasattr(command, "get_command") else None
        if command is None:
            break
        words.append(word)
    return " ".join(words)
