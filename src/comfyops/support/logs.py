"""Log lines: for people as `TIME - LEVEL - MESSAGE`, for programs one JSON object a line; on stderr or in a file.

    2026-01-21 09:46:09,350 - INFO -    flux2-vae.safetensors: 2.3%
    {"time": "2026-01-21T09:46:09.350Z", "level": "INFO", "logger": "comfyops.models", "message": "...", "percent": 2.3}

The form of the first is that of the requirement document. A record is one line, whatever its message holds; only a
traceback adds lines to it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from typing import Any, Literal

from comfyops.support.processes import RotatingFile

Format = Literal["text", "json"]

TALK = "comfyops.talk"
"""The logger, and those below it, of what commands say to people, who mostly have read it on the terminal."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STANDARD = logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys() | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """`2026-01-21 09:46:08,959 - INFO - message`, in local time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, without characters that would end it or steer a terminal."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`, and what else the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        data: dict[str, Any] = {
            "time": f"{now}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        data |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD and name not in data}
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None)
        if trace:
            data["exception"] = trace
        return json.dumps(data, default=str)


class RotatingHandler(logging.Handler):
    """Writes into a file that is turned over at 10 MiB; three old ones stay.

    Raises StorageError where the file cannot be opened; a disk that is full later costs lines and nothing else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = RotatingFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self._file.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 (what cannot be put into words must not end the command)
            self.handleError(record)

    def close(self) -> None:
        """Write no more."""
        self._file.close()
        super().close()


def formatter(chosen: Format) -> logging.Formatter:
    """What makes lines in this form."""
    return JsonFormatter() if chosen == "json" else TextFormatter()


def one_line(text: str) -> str:
    """The text with `\\n`, `\\x1b` and the like spelled out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
