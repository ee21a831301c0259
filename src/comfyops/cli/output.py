"""The only printer. A command returns a Result; people read its lines, programs its data, from the same value.

Data goes to stdout, talk to stderr. With --json every command prints one envelope:

    {"schema": "envelope/1", "ok": ..., "command": ..., "version": ..., "data": ...,
     "error": null or {"code": ..., "message": ..., "hint": ..., "details": {...}}}
"""

from __future__ import annotations

import dataclasses
import json
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

from comfyops import __version__
from comfyops.config import debugging
from comfyops.errors import ComfyOpsError, UsageError

# The base of Typer's own usage errors, which it does not export.
_TyperUsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

INTERRUPTED = 130


@dataclass(frozen=True)
class Result:
    """What a command found: `data` for programs (JSON-able, dataclasses allowed), `lines` for people.

    `exit_code` 1 says that it worked but the answer is bad (an invalid workflow, a missing file); `notes` are talk.
    """

    command: str
    data: Any
    lines: Iterable[RenderableType] = ()
    notes: Iterable[RenderableType] = ()
    exit_code: int = 0


def emit(result: Any, *, as_json: bool) -> int:
    """Print a command's result and return the exit code. What is no Result (after --help, say) prints nothing."""
    if not isinstance(result, Result):
        return result if isinstance(result, int) else 0
    if as_json:
        _print_json(_envelope(result.command, ok=result.exit_code == 0, data=plain(result.data)))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for line in result.lines:
            console.print(line)
        say(*result.notes)
    return result.exit_code


def failed(error: Exception, *, as_json: bool, command: str = "") -> int:
    """Print an error and return the exit code."""
    if isinstance(error, typer.Abort):
        return interrupted(as_json=as_json)
    if isinstance(error, typer.Exit):
        return error.exit_code
    known, code = _known(error)
    if as_json:
        facts = plain(known.facts)
        details = {"code": known.code, "message": known.message, "hint": known.hint, "details": facts}
        _print_json(_envelope(command, ok=False, error=details))
    else:
        say(f"[bold red]error[/] [dim]({known.code})[/]: {escape(known.message)}")
        if known.hint:
            say(f"  [dim]hint:[/] {escape(known.hint)}")
    return code


def interrupted(*, as_json: bool) -> int:
    """Say that somebody pressed Ctrl-C and return the exit code."""
    if as_json:
        error = {"code": "interrupted", "message": "Interrupted.", "hint": "", "details": {}}
        _print_json(_envelope("", ok=False, error=error))
    else:
        say("interrupted")
    return INTERRUPTED


def say(*lines: RenderableType) -> None:
    """Talk to the person, on stderr."""
    console = talk()
    for line in lines:
        console.print(line)


def talk() -> Console:
    """The console on stderr, for talk and progress."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


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
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _known(error: Exception) -> tuple[ComfyOpsError, int]:
    """The error as one of ours, and the exit code."""
    if isinstance(error, ComfyOpsError):
        return error, 2 if isinstance(error, UsageError) else 1
    if isinstance(error, _TyperUsageError):
        message = getattr(error, "format_message", lambda: str(error))()
        return UsageError(message[:1].upper() + message[1:]), 2
    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    unknown = ComfyOpsError(
        f"An internal error ended the command: {type(error).__name__}: {str(error) or 'no message'}.",
        hint="This is a fault of ComfyOps; with COMFYOPS_DEBUG=1 it shows where. Please report it.",
    )
    unknown.code = "internal"
    return unknown, 1


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
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()
