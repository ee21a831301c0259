"""The only printer. A command returns a Result; people read its lines, programs its data, from the same value.

Data goes to stdout, talk to stderr. With --json every command prints one envelope:

    {"schema": "envelope/1", "ok": ..., "command": ..., "version": ..., "data": ...,
     "error": null or {"code": ..., "message": ..., "hint": ..., "details": {...}}}
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from comfyops import __version__
from comfyops.cli import logs
from comfyops.errors import ComfyOpsError, InternalError, StoppedError, StorageError, UsageError
from comfyops.support.logs import TALK

# The base of Typer's own usage errors, which it does not export.
_TyperUsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

_log = logging.getLogger(TALK)
_log.addHandler(logging.NullHandler())  # what fails before log lines are set up is printed once, not by Python too

# Control characters, and those that turn the direction of the text that follows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Result:
    """What a command found: `data` for programs (JSON-able, dataclasses allowed), `lines` for people (Rich markup).

    `exit_code` 1 says that it worked but the answer is bad (an invalid workflow, a missing file); `notes` are talk.
    """

    command: str
    data: Any
    lines: Iterable[RenderableType] = ()
    notes: Iterable[RenderableType] = ()
    exit_code: int = 0

    def __post_init__(self) -> None:
        # What goes wrong in making the lines must go wrong in the command, before anything is printed.
        object.__setattr__(self, "lines", tuple(self.lines))


def emit(result: Any, *, as_json: bool) -> int:
    """Print a command's result and return the exit code. What is no Result (after --help, say) prints nothing."""
    if not isinstance(result, Result):
        return result if isinstance(result, int) else 0
    if as_json:
        _print_json(_envelope(result.command, ok=result.exit_code == 0, data=plain(result.data)))
    else:
        _print(Console(soft_wrap=True, highlight=False), result.lines)
        say(*result.notes)
    return result.exit_code


def failed(error: Exception, *, as_json: bool, command: str = "") -> int:
    """Print an error and return the exit code."""
    if isinstance(error, typer.Abort):
        return interrupted(as_json=as_json, command=command)
    if isinstance(error, typer.Exit):
        return error.exit_code
    known = _known(error)
    if as_json:
        _print_json(_envelope(command, ok=False, error=_described(known)))
    elif known.message:
        show(f"[bold red]error[/] [dim]({known.code})[/]: {escape(' '.join(known.message.split()))}")
        if known.hint:
            show(f"  [dim]hint:[/] {escape(known.hint)}")
    if known.message:
        words = " ".join(f"{known.message} {known.hint}".split())
        _log.error("error (%s): %s", known.code, words, extra={"code": known.code})
    return 2 if isinstance(known, UsageError) else 1


def interrupted(*, as_json: bool, command: str = "") -> int:
    """Say that somebody pressed Ctrl-C and return the exit code."""
    if as_json:
        _print_json(_envelope(command, ok=False, error=_described(StoppedError("The command was interrupted."))))
    else:
        say("interrupted")
    return 130


def say(*lines: RenderableType) -> None:
    """Talk to the person, on stderr; it is logged too."""
    show(*lines)
    for line in lines:
        _log.info("%s", _text(line))


def show(*lines: RenderableType) -> None:
    """Talk to the person, on stderr, of what the log says in another way."""
    try:
        _print(talk(), lines)
    except OSError:  # the terminal is gone
        _no_more_talk()


class _Talk(Console):
    """A console whose reader may go away: talk that nobody hears ends no command."""

    def on_broken_pipe(self) -> None:
        _no_more_talk()


def talk() -> Console:
    """The console on stderr, for talk and progress; silent where log lines stand there."""
    return _Talk(stderr=True, soft_wrap=True, highlight=False, quiet=logs.instead_of_talk())


def count(number: int, noun: str) -> str:
    """A number and its noun, such as "1 output" and "2 outputs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_words(size: int) -> str:
    """Bytes for people, such as "6.5 GiB"."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def plain(value: Any) -> Any:
    """A value as JSON types: dataclasses become objects, paths and enumerations texts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _no_more_talk() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


def _print(console: Console, lines: Iterable[RenderableType]) -> None:
    for line in lines:
        console.print(_harmless(line) if isinstance(line, str) else line)


def _text(line: RenderableType) -> str:
    """A line without its markup."""
    if isinstance(line, str):
        return Text.from_markup(line).plain
    console = Console(file=io.StringIO(), soft_wrap=True, highlight=False)
    console.print(line)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined,no-any-return]


def _harmless(text: str) -> str:
    """The text without characters that steer a terminal; names in foreign files may hold them."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _known(error: Exception) -> ComfyOpsError:
    """The error as one of ours; its message is empty where Typer has said everything."""
    if isinstance(error, ComfyOpsError):
        return error
    if isinstance(error, _TyperUsageError):
        return _usage_error(error)
    from comfyops.config import debugging

    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        return StorageError(f"{error.filename} cannot be used: {error.strerror.lower()}.", path=error.filename)
    return InternalError(
        f"An internal error ended the command: {type(error).__name__}: {str(error).rstrip('.') or 'no message'}."
    )


def _usage_error(error: Exception) -> UsageError:
    message: str = getattr(error, "format_message", lambda: str(error))().strip()
    command = getattr(getattr(error, "ctx", None), "command_path", "")
    hint = f"See `{command} --help`." if command else None
    end = "." if message and message[-1] not in ".?!)" else ""
    return UsageError(message[:1].upper() + message[1:] + end, hint=hint)


def _described(error: ComfyOpsError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint, "details": plain(error.facts)}


def _envelope(command: str, *, ok: bool, data: Any = None, error: Any = None) -> dict[str, Any]:
    return {
        "schema": "envelope/1",
        "ok": ok,
        "command": command,
        "version": __version__,
        "data": data,
        "error": error,
    }


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()
