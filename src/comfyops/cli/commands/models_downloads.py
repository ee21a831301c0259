"""`comfyops models downloads`: what is being fetched here, steered from another terminal, and gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.commands.models_lines import outcome_data, outcome_lines
from comfyops.cli.model_options import opened
from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result, count, in_words
from comfyops.cli.running_downloads import brought
from comfyops.errors import DownloadError, UnknownModelError
from comfyops.models.downloads import asks, records
from comfyops.models.downloads.asks import Ask, Verb
from comfyops.models.downloads.records import Record, RecordedFile
from comfyops.models.provision import Outcome

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See and steer what is being fetched.")

Names = Annotated[list[str] | None, typer.Argument(help="Models, by folder/file, file or name; else all.")]

_ANSWER = 10.0  # seconds for which a process may take a request


@app.callback()
def downloads() -> None:
    """See and steer the downloads of every process on this machine, and go on with those that were stopped."""


@app.command("ls")
def list_all(as_json: Json = False) -> Result:
    """List what is queued, running or paused, and what processes that ended have left."""
    found = [(record, record.alive) for record in records.all_of(_home())]
    data = [_data(record, file, alive=alive) for record, alive in found for file in record.files]
    lines = [_line(record, file, alive=alive) for record, alive in found for file in record.files]
    left = sum(not item["running"] for item in data)
    notes = [f"{count(len(data), 'file')}, {left} of them left by processes that ended"]
    if left:
        notes.append("Go on with `comfyops models downloads resume`, or forget them with `downloads cancel`.")
    return Result("models downloads ls", data, lines, notes)


@app.command()
def pause(names: Names = None, as_json: Json = False) -> Result:
    """Pause downloads of running processes; what came is kept. The others take their turn."""
    return _asked("pause", names)


@app.command()
def retry(names: Names = None, as_json: Json = False) -> Result:
    """Try files that failed once more, in the processes that still fetch others."""
    return _asked("retry", names)


@app.command()
def priority(
    name: Annotated[str, typer.Argument(help="A model, by folder/file, file or name.")],
    value: Annotated[int, typer.Argument(help="Higher comes first; 0 is where all begin.", metavar="NUMBER")],
    as_json: Json = False,
) -> Result:
    """Have a file fetched before others, or after them."""
    return _asked("priority", [name], value)


@app.command()
def cancel(names: Names = None, as_json: Json = False) -> Result:
    """Give up downloads, and forget those that were left by processes that ended. What came is kept on the disk."""
    home = _home()
    left = [file for record in records.left(home) for file in record.files if _meant(file, names)]
    records.drop(home, [file.item.target for file in left])
    result = _asked("cancel", names, known=bool(left))
    data = {**result.data, "forgotten": [file.item.entry.id for file in left]}
    notes = [*result.notes, *([f"{count(len(left), 'file')} forgotten"] if left else [])]
    return Result("models downloads cancel", data, result.lines, notes)


@app.command()
def resume(
    names: Names = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Json = False,
) -> Result:
    """Go on with what is paused in running processes, and fetch here what ended processes have left.

    Exit code 1: a file is not there afterwards.
    """
    home = _home()
    left = [
        (record, chosen)
        for record in records.left(home)
        if (chosen := [file for file in record.files if _meant(file, names)])
    ]
    asked = _asked("resume", names, known=bool(left))
    outcomes = [outcome for record, files in left for outcome in _gone_on(home, record, files, quiet=quiet or as_json)]
    data = {**asked.data, "outcomes": [outcome_data(item) for item in outcomes]}
    notes = [*asked.notes] if asked.data["asked"] or not left else []
    if left:
        notes.append(f"{count(sum(item.ok for item in outcomes), 'file')} put in place")
    failed = any(not item.ok for item in outcomes)
    lines = [*asked.lines, *outcome_lines(outcomes)]
    return Result("models downloads resume", data, lines, notes, exit_code=int(failed))


def _gone_on(home: Path, record: Record, files: Sequence[RecordedFile], *, quiet: bool) -> tuple[Outcome, ...]:
    """Fetch in this process what another one has left."""
    place = record.place
    session = opened(
        place.get("comfyui_path"),
        place.get("models_dir"),
        allow_pickle=bool(place.get("allow_pickle")),
        max_workers=place.get("max_workers"),
        limit_rate=place.get("limit_rate"),
    )
    priorities = {file.item.entry.id: file.priority for file in files}
    items = [file.item for file in files]
    return brought(session.provision, items, home=home, place=place, priorities=priorities, quiet=quiet)


def _asked(verb: Verb, names: Sequence[str] | None, value: int = 0, *, known: bool = False) -> Result:
    """Ask it of every running process that has what is meant; `known` says that others have it too."""
    asked: list[str] = []
    for record in records.all_of(_home()):
        meant = [file.item.entry.id for file in record.files if _meant(file, names)]
        if not meant or not record.alive:
            continue
        for model in meant if names else [None]:
            if not asks.send(record, Ask(verb, model, value), _ANSWER) and record.alive:
                raise DownloadError(f"Process {record.process} did not answer within {_ANSWER:.0f} s.")
        asked += meant
    if names and not asked and not known:
        words = f"{', '.join(names)}: no such download."
        raise UnknownModelError(words, hint="See `comfyops models downloads ls`.")
    lines = [f"[green]{verb}[/]  {escape(model)}" for model in asked]
    return Result(f"models downloads {verb}", {"asked": asked}, lines, [f"{count(len(asked), 'file')} asked for"])


def _meant(file: RecordedFile, names: Sequence[str] | None) -> bool:
    entry = file.item.entry
    return not names or any(name in (entry.id, entry.file, entry.name) for name in names)


def _home() -> Path:
    return settings().home.expanduser()


def _data(record: Record, file: RecordedFile, *, alive: bool) -> dict[str, object]:
    progress = file.progress.documented()
    status = file.progress.status if alive or file.progress.status == "failed" else "paused"
    more = {"target": file.item.target, "priority": file.priority, "process": record.process, "running": alive}
    return {**progress, "status": status, "model": file.item.entry.id, **more}


def _line(record: Record, file: RecordedFile, *, alive: bool) -> str:
    progress = file.progress
    status = str(_data(record, file, alive=alive)["status"])
    percent = "?" if progress.percent is None else f"{progress.percent:.0f} %"
    size = in_words(progress.total_bytes) if progress.total_bytes else "?"
    speed = f"{progress.speed_mbps:.1f} MB/s" if alive and status == "downloading" else ""
    who = f"process {record.process}" if alive else "stopped"
    colour = {"downloading": "green", "failed": "red", "paused": "yellow"}.get(status, "cyan")
    more = ", ".join(_filled(speed, who, f"priority {file.priority}" if file.priority else "", progress.error_message))
    return f"[{colour}]{status:11}[/] {percent:>5} {size:>9}  {escape(file.item.entry.id)}  [dim]{escape(more)}[/]"


def _filled(*texts: str | None) -> Iterator[str]:
    return (text for text in texts if text)
