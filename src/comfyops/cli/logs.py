"""Where log lines of every command go; the one place that sets logging up, and takes secrets out of it.

Without options, warnings of the parts go to stderr beside what the command says. `--log-file` writes everything into a
file too; `--log-format` without a file puts log lines in the place of what the command says on stderr.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comfyops.auth import redaction
from comfyops.support import logs
from comfyops.support.logs import TALK, Format

if TYPE_CHECKING:
    from comfyops.config import Settings

LEVELS = ("debug", "info", "warning", "error")
_OPTIONS = ("--log-file", "--log-format", "--log-level")


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Lines on stderr; `shows_talk` says that they stand for what the command says."""

    def __init__(self, *, shows_talk: bool) -> None:
        super().__init__(sys.stderr)
        self.shows_talk = shows_talk

    def filter(self, record: logging.LogRecord) -> bool:
        """What the command says is on stderr already, unless lines stand for it."""
        return (self.shows_talk or not record.name.startswith(TALK)) and bool(super().filter(record))


def hoisted(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of logging, which may stand anywhere before `--`, and the other arguments."""
    ours: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _OPTIONS:
            ours += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word.startswith(tuple(f"{option}=" for option in _OPTIONS)):
            ours.append(word)
        else:
            rest.append(word)
    return ours, rest


def set_up(file: Path | None = None, chosen: Format | None = None, level: str = "info") -> None:
    """Send log lines where the options say, without secrets.

    Raises StorageError where the file cannot be opened.
    """
    tear_down()
    root = logging.getLogger()
    stderr = _Stderr(shows_talk=chosen is not None and file is None)
    stderr.setLevel(level.upper() if stderr.shows_talk else max(logging.WARNING, _number(level)))
    stderr.setFormatter(logs.formatter((chosen if stderr.shows_talk else None) or "text"))
    handlers: list[logging.Handler] = [stderr]
    if file is not None:
        written = logs.RotatingHandler(file.expanduser())
        written.setLevel(level.upper())
        written.setFormatter(logs.formatter(chosen or "text"))
        handlers.append(written)
    redaction.install(*handlers)
    for handler in handlers:
        root.addHandler(handler)
    logging.getLogger("comfyops").setLevel(_number(level) if file or chosen else logging.WARNING)


def tear_down() -> None:
    """Take back what `set_up` did."""
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, _Stderr | logs.RotatingHandler):
            root.removeHandler(handler)
            handler.close()
    logging.getLogger("comfyops").setLevel(logging.NOTSET)


def instead_of_talk() -> bool:
    """Whether log lines stand on stderr for what the command says."""
    return any(isinstance(item, _Stderr) and item.shows_talk for item in logging.getLogger().handlers)


def protect(settings: Settings, *further: str | None) -> None:
    """Tell of the secrets in the settings, and further ones, so that no log line shows them."""
    secrets = (getattr(settings, name) for name in type(settings).model_fields)
    known = [item.get_secret_value() for item in secrets if hasattr(item, "get_secret_value")]
    redaction.remember(*known, *(item for item in further if item))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
