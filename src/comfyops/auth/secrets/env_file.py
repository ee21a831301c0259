"""An `.env` file as its lines: values are set and removed, every other byte stays as it is.

Known: comments, blank lines, `export`, spaces around `=` (or `:`, which Compose takes too), single and double quotes,
values over several lines, comments after values, `\\r\\n`, a byte order mark. What is not understood is kept. Bytes
that are not UTF-8 are kept too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from comfyops.auth.secrets import env_values
from comfyops.errors import SecretsError

_START = re.compile(
    r"(?P<head>\ufeff?[^\S\r\n]*(?:export[^\S\r\n]+)?(?P<key>[A-Za-z_][\w.-]*)[^\S\r\n]*[=:][^\S\r\n]*)", re.A
)
_REST = re.compile(r"(?P<tail>[^\S\r\n]*(?:#[^\r\n]*)?)(?P<end>\r\n|\n|\r|\Z)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_QUOTED = {quote: re.compile(rf"{quote}(?:\\.|[^\\{quote}])*{quote}", re.DOTALL) for quote in ("'", '"')}
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.A)


@dataclass(frozen=True, slots=True)
class Line:
    """A line: `head` up to the value, the value as written, the rest. Without a key all of it is in `head`."""

    head: str = field(repr=False)
    key: str | None = None
    written: str = field(default="", repr=False)
    tail: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """The bytes of the line, decoded."""
        return self.head + self.written + self.tail


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The lines of a file, in order."""

    lines: tuple[Line, ...]

    def dumps(self) -> bytes:
        """The bytes of the file; those it was read from where nothing was changed."""
        return "".join(line.text for line in self.lines).encode("utf-8", "surrogateescape")

    def effective(self) -> dict[str, str | None]:
        """What Compose reads for each key, the last line of a key first; None where it reads it as an error."""
        found: dict[str, str | None] = {}
        known: dict[str, str] = {}
        for line in self.lines:
            if line.key is not None:
                try:
                    found[line.key] = known[line.key] = env_values.effective(line.written, known)
                except env_values.NotReadableError:
                    found[line.key] = None
                    known.pop(line.key, None)
        return found

    def literal(self) -> dict[str, str]:
        """The value of each key with its `$` as they stand, which is what was meant where nobody knew of quotes."""
        return {line.key: env_values.literal(line.written) for line in self.lines if line.key is not None}

    def with_value(self, key: str, value: str | None) -> EnvFile:
        """The file with a key set in all of its lines, or added at the end; None removes it."""
        if value is None:
            return replace(self, lines=tuple(line for line in self.lines if line.key != key))
        written = env_values.quoted(value)
        if any(line.key == key for line in self.lines):
            return replace(self, lines=tuple(replace(x, written=written) if x.key == key else x for x in self.lines))
        end = "\r\n" if any(line.text.endswith("\r\n") for line in self.lines) else "\n"
        lines = list(self.lines)
        if lines and not lines[-1].text.endswith(("\n", "\r")):
            lines.append(Line(end))
        return replace(self, lines=(*lines, Line(f"{key}=", key, written, end)))


def loads(data: bytes) -> EnvFile:
    """Read a file.

    Raises SecretsError, naming the line, for a quote that is never closed: where the next line begins is unknown then.
    """
    text, at, lines = data.decode("utf-8", "surrogateescape"), 0, []
    while at < len(text):
        line = _line(text, at)
        at += len(line.text)
        lines.append(line)
    return EnvFile(tuple(lines))


def _line(text: str, at: int) -> Line:
    start = _START.match(text, at)
    if start is None:
        return Line(_matched(_LINE, text, at)[0])
    here = start.end()
    quote = _QUOTED.get(text[here : here + 1])
    if quote is None:
        return _plain_line(start, _matched(_LINE, text, here)[0])
    value = quote.match(text, here)
    if value is None:
        number = len(re.findall(r"\r\n|\n|\r", text[:at])) + 1
        raise SecretsError(f"A quote that begins in line {number} of an .env file is never closed.")
    rest = _REST.match(text, value.end())
    if rest is None:  # something stands behind the quote: shells join it, Compose refuses it
        return Line(start["head"] + _matched(_LINE, text, here)[0])
    return Line(start["head"], start["key"], value[0], rest[0])


def _plain_line(start: re.Match[str], rest: str) -> Line:
    """A line whose value has no quotes: it ends before ` #` and the spaces around it."""
    body = rest.rstrip("\r\n")
    value = body.partition(" #")[0].rstrip()
    return Line(start["head"], start["key"], value, rest[len(value) :])


def _matched(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    assert found is not None  # each of these patterns matches anywhere
    return found
