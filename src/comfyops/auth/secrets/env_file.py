"""An `.env` file as its lines: values are set and removed, every other byte stays as it is.

Known: comments, blank lines, `export`, spaces around `=` (or `:`, which Compose takes too), single and double quotes,
values over several lines, comments after values, `\\r\\n`, a byte order mark. What is not understood is kept. Bytes
that are not UTF-8 are kept too. A `\\r` alone is refused: for Compose the line goes on behind it, for others it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from comfyops.auth.secrets import env_values
from comfyops.errors import SecretsError

_SPACE = r"[\t\v\f \x85\xa0]"  # what Compose takes for one
_START = re.compile(rf"(?P<head>\ufeff?{_SPACE}*(?:export{_SPACE}+)?(?P<key>\w[\w.\[\]-]*){_SPACE}*[=:]{_SPACE}*)")
_REST = re.compile(rf"{_SPACE}*(?:#[^\r\n]*)?(?:\r\n|\n|\Z)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\Z)")
_QUOTED = {quote: re.compile(rf"{quote}(?:\\.|[^\\{quote}])*{quote}", re.DOTALL) for quote in ("'", '"')}
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.A)


@dataclass(frozen=True, slots=True)
class Line:
    """A line: `head` up to the value, the value as written, the rest. Without a key all of it is in `head`.

    Where something stands behind the quotes of a value, it belongs to `written`: readers make of it what they like.
    """

    head: str = field(repr=False)
    key: str | None = None
    written: str = field(default="", repr=False)
    tail: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """The bytes of the line, decoded."""
        return self.head + self.written + self.tail

    @property
    def is_clear(self) -> bool:
        """Whether nothing stands behind the quotes of the value."""
        quote = _QUOTED.get(self.written[:1])
        return quote is None or quote.fullmatch(self.written) is not None


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
        for line in self.lines:
            if line.key is not None:
                found[line.key] = _effective(line, found)
        return found

    def literal(self) -> dict[str, str]:
        """The value of each key with its `$` as they stand, which is what was meant where nobody knew of quotes."""
        return {line.key: env_values.literal(line.written) for line in self.lines if line.key and line.is_clear}

    def with_value(self, key: str, value: str | None) -> EnvFile:
        """The file with a key set in all of its lines, or added at the end; None removes it."""
        if value is None:
            return replace(self, lines=tuple(line for line in self.lines if line.key != key))
        written = env_values.quoted(value)
        if any(line.key == key for line in self.lines):
            return replace(self, lines=tuple(replace(x, written=written) if x.key == key else x for x in self.lines))
        end = "\r\n" if any(line.text.endswith("\r\n") for line in self.lines) else "\n"
        lines = list(self.lines)
        if lines and not lines[-1].text.endswith("\n"):
            lines.append(Line(end))
        return replace(self, lines=(*lines, Line(f"{key}=", key, written, end)))


def loads(data: bytes) -> EnvFile:
    r"""Read a file.

    Raises SecretsError, naming the line, for a quote that is never closed and for a `\r` alone: where the next line
    begins is unknown then. Raises it for a NUL byte too, which no environment can hold and UTF-16 is full of.
    """
    if b"\0" in data:
        raise SecretsError("An .env file holds a NUL byte: it is no text in UTF-8.", hint="Save the file as UTF-8.")
    text, at, lines = data.decode("utf-8", "surrogateescape"), 0, []
    while at < len(text):
        line = _line(text, at)
        at += len(line.text)
        lines.append(line)
    return EnvFile(tuple(lines))


def _effective(line: Line, known: Mapping[str, str | None]) -> str | None:
    try:
        return env_values.effective(line.written, known) if line.is_clear else None
    except env_values.NotReadableError:
        return None


def _line(text: str, at: int) -> Line:
    start = _START.match(text, at)
    if start is None:
        return Line(_to_the_end(text, at, at))
    here = start.end()
    quote = _QUOTED.get(text[here : here + 1])
    if quote is None:
        return _plain_line(start, _to_the_end(text, here, here))
    value = quote.match(text, here)
    if value is None:
        raise SecretsError(f"A quote that begins in line {_number(text, at)} of an .env file is never closed.")
    rest = _REST.match(text, value.end())
    if rest is not None:
        return Line(start["head"], start["key"], value[0], rest[0])
    behind = _to_the_end(text, value.end(), at)
    body = behind.rstrip("\r\n")
    return Line(start["head"], start["key"], value[0] + body, behind[len(body) :])


def _plain_line(start: re.Match[str], rest: str) -> Line:
    """A line whose value has no quotes: it ends before ` #` and the spaces around it."""
    body = rest.rstrip("\r\n")
    value = body.partition(" #")[0].rstrip()
    return Line(start["head"], start["key"], value, rest[len(value) :])


def _to_the_end(text: str, here: int, at: int) -> str:
    """The text from `here` to the end of its line, which began at `at`."""
    found = _LINE.match(text, here)
    if found is None:
        hint = "Save the file with \\n or \\r\\n as line ends."
        words = f"A carriage return stands alone behind the beginning of line {_number(text, at)} of an .env file."
        raise SecretsError(words, hint=hint)
    return found[0]


def _number(text: str, at: int) -> int:
    """The number of the line that begins here."""
    return text.count("\n", 0, at) + 1
