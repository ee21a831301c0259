"""What may be said of a durable job on the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comfyops.errors import InvalidValueError, UsageError
from comfyops.support.files import read_bytes

if TYPE_CHECKING:
    from comfyops.client.client import JobOptions

MOST = 10_000
"""Jobs of a batch."""

_LARGEST = 64 * 1024 * 1024  # bytes of a table

Workflow = Annotated[str, typer.Argument(help="Workflow file (JSON, or media with one inside), or template's name.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Set an input: NAME=VALUE; for pictures a local file.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: the same request with it again gives the same job.")]
Name = Annotated[str, typer.Option(help="A name for people.")]
Priority = Annotated[int, typer.Option(help="A smaller one goes first.")]
Delay = Annotated[float, typer.Option(min=0, help="Seconds before it may begin.")]
Deadline = Annotated[str | None, typer.Option(help="Time after which it is not begun: 2026-12-01T08:00.")]
After = Annotated[list[str] | None, typer.Option(metavar="ID", help="A job that must have succeeded before.")]
Webhook = Annotated[str, typer.Option(help="Address that is told when it is over.")]
Label = Annotated[list[str] | None, typer.Option(help="NAME=VALUE, to find it by.")]
NeedsTag = Annotated[list[str] | None, typer.Option("--needs-tag", help="Label that its backend must have.")]
NeedsVram = Annotated[float, typer.Option("--needs-vram-gb", min=0, help="Memory that its backend's device must have.")]
OnBackend = Annotated[str | None, typer.Option("--backend", help="The only backend that may run it.")]


def options(
    name: str,
    priority: int,
    delay: float,
    deadline: str | None,
    after: Sequence[str] | None,
    webhook: str,
    label: Sequence[str] | None,
    needs_tag: Sequence[str] | None,
    needs_vram: float,
    backend: str | None,
) -> JobOptions:
    """The options of a job that were given. Raises UsageError."""
    given: dict[str, Any] = {
        "name": name,
        "priority": priority,
        "delay": delay,
        "deadline": _time(deadline),
        "depends_on": list(after or ()),
        "webhook_url": webhook,
        "labels": pairs(label, "--label"),
        "needs_tags": list(needs_tag or ()),
        "needs_vram_gb": needs_vram,
        "backend": backend,
    }
    return {key: value for key, value in given.items() if value}  # type: ignore[return-value]


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE texts. Raises UsageError."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{option} takes NAME=VALUE, not {text[:60]!r}.")
        found[name.strip()] = value
    return found


def rows_of(table: Path) -> list[dict[str, object]]:
    """The rows of a CSV file, whose first line names the inputs; an empty cell sets nothing.

    Raises MissingFileError, InvalidValueError.
    """
    try:
        text = read_bytes(table, _LARGEST).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        found = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidValueError(f"{table} is no table of comma-separated values: {error}.", hint="") from error
    names = reader.fieldnames or []
    if not names or not all(name and name.strip() for name in names) or len(set(names)) < len(names):
        raise InvalidValueError(f"The first line of {table} does not name each column once.", hint="")
    for number, row in enumerate(found, 2):
        if None in row or None in row.values():
            raise InvalidValueError(f"Row {number} of {table} has not as many cells as the first line.", hint="")
    return [{name.strip(): cell for name, cell in row.items() if cell != ""} for row in found]


def prompts_of(file: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises MissingFileError, InvalidValueError."""
    try:
        lines = read_bytes(file, _LARGEST).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{file} is no text in UTF-8.", hint="") from error
    return [line.strip() for line in lines if line.strip()]


def seeds_of(text: str) -> list[int]:
    """The numbers of "1..20", "3,5,8" or both. Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last) if dots else int(first)
        except ValueError:
            raise UsageError(f"{part[:40]!r} is no seed, nor a range of them such as 1..20.") from None
        if high < low or high - low >= MOST or len(found) + high - low >= MOST:
            raise UsageError(f"{part[:40]!r} are not between 1 and {MOST} seeds.")
        found += range(low, high + 1)
    return found


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone() if text else None
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{str(text)[:40]!r} is no time.", hint="Write it as 2026-12-01T08:00.") from None
