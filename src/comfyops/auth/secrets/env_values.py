r"""The value of one line of an `.env` file: how it is written, and what its readers make of it.

Rules, those of Docker Compose: single quotes keep everything as it is (but `\'`); double quotes know escapes and
`$NAME`; without quotes `$NAME` counts, and ` #` begins a comment. python-dotenv differs: it replaces `${NAME}` in
single quotes too, and knows no `\$`. `quoted` chooses the form on which both agree wherever there is one; where
there is none (a value with `${`, or with `$` beside a single quote or such backslashes) it follows Compose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from comfyops.errors import SecretsError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_]\w*)"
    r"|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<operator>:?-)(?P<default>[^{}$]*))?\}|(?P<invalid>))",
    re.ASCII,
)


class NotReadableError(ValueError):
    """A value that readers refuse or read differently; it holds no text of the value."""


def quoted(value: str) -> str:
    """The value as it is written behind `KEY=`.

    Raises SecretsError for a NUL character or a lone surrogate, which no environment can hold.
    """
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise SecretsError("A value with a NUL character or broken text cannot be written into an .env file.")
    if _PLAIN.fullmatch(value):
        return value
    single = not ("'" in value or "\\\\" in value or value.endswith("\\") or "\r" in value)
    if single and ("\n" not in value or "$" in value):
        return f"'{value}'"
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + text.replace("\n", "\\n").replace("\r", "\\r") + '"'


def literal(written: str) -> str:
    """The written value without its quotes and escapes, its `$` as they stand."""
    if written.startswith("'"):
        return written[1:-1].replace("\\'", "'")
    return _unescaped(written[1:-1], dollar="$") if written.startswith('"') else written


def effective(written: str, known: Mapping[str, str | None]) -> str:
    """What Compose reads; `known` are the values of the lines before, other variables count as empty.

    Raises NotReadableError for a variable whose own value is not readable (None), and for a `$` that begins none, as in
    a bcrypt hash without quotes: some versions refuse it, some keep it, and which part of a hash looks like a variable
    is chance.
    """
    if written.startswith("'"):
        return literal(written)
    text = _unescaped(written[1:-1], dollar="$$") if written.startswith('"') else written
    return _VARIABLE.sub(lambda found: _substituted(found, known), text)


def _unescaped(text: str, dollar: str) -> str:
    def one(found: re.Match[str]) -> str:
        char = found[1]
        if char == "$":
            return dollar
        return _ESCAPES.get(char, char if char in "\"'\\" else found[0])

    return _ESCAPE.sub(one, text)


def _substituted(found: re.Match[str], known: Mapping[str, str | None]) -> str:
    if found["invalid"] is not None:
        raise NotReadableError("a $ that begins no variable")
    if found["escaped"]:
        return "$"
    name = found["named"] or found["braced"]
    value = known.get(name, "")
    if value is None:
        raise NotReadableError("a variable that is not readable itself")
    if found["operator"] is not None and (name not in known or (found["operator"] == ":-" and not value)):
        return found["default"] or ""
    return value
