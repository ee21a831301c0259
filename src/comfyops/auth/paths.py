"""Pure: one form for every way to write the path of a request.

A path can be written in many ways: percent signs (once, twice, ...), backslashes, `.` and `..`, double slashes, other
case, dots at the end of a name, ComfyUI's prefix /api. Who decides on the text that came in can be led around; here
each of these becomes the same canonical path, and what has no honest reading is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from comfyops.errors import PathError

LONGEST = 4096
"""Bytes of a path; longer ones are refused."""

_ROUNDS = 8  # of decoding; nobody honest encodes a path more often than twice
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")


def normalise(raw_path: bytes | str) -> str:
    """The canonical form of a request's path, without its query: decoded, absolute, without /api before it.

    `normalise(normalise(p)) == normalise(p)`. The case of names stays; words of known routes are made small by
    `policy.canonical`. Raises PathError for a path that has no honest reading.
    """
    names = _names(decoded(_bytes(raw_path)))
    while names and names[0].lower() == "api":
        names = names[1:]
    return "/" + "/".join(names)


def upstream(raw_path: bytes | str) -> str:
    """The path to send to a server, quoted anew, so that the server reads what was decided on.

    `normalise(upstream(p)) == normalise(p)`. A slash that was written %2F stays so (ComfyUI's /userdata needs it), and
    of any number of prefixes /api one stays. Raises PathError.
    """
    raw = _bytes(raw_path)
    decoded(raw)
    names: list[str] = []
    for part in raw.split(b"/"):
        inner = _names("/" + decoded(b"/" + part)[1:])
        if inner:
            names.append("/".join(inner))
    prefixed = False
    while names and names[0].lower() == "api":
        prefixed, names = True, names[1:]
    return ("/api" if prefixed else "") + "/" + "/".join(quote(name, safe="") for name in names)


def decoded(raw: bytes) -> str:
    """The path with nothing left to decode. Raises PathError."""
    for _ in range(_ROUNDS):
        if not _ESCAPE.search(raw):
            break
        raw = unquote_to_bytes(raw)
    else:
        raise PathError("The path is encoded too many times.")
    try:
        text = raw.decode("utf-8")  # refuses overlong forms and surrogates
    except UnicodeDecodeError as error:
        raise PathError("The path is not UTF-8.") from error
    if _CONTROL.search(text):
        raise PathError("The path holds control characters.")
    if not text.startswith(("/", "\\")):
        raise PathError("The path does not begin with a slash.")
    return text


def _bytes(raw_path: bytes | str) -> bytes:
    try:
        raw = raw_path if isinstance(raw_path, bytes) else raw_path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PathError("The path is not UTF-8.") from error
    if len(raw) > LONGEST:
        raise PathError(f"The path is longer than {LONGEST} bytes.")
    return raw


def _names(text: str) -> list[str]:
    return list(_resolved(re.split(r"[/\\]+", text)))


def _resolved(parts: Iterable[str]) -> list[str]:
    names: list[str] = []
    for part in parts:
        if part == "..":
            if not names:
                raise PathError("The path leads out of the server.")
            names.pop()
        elif part not in ("", "."):
            names.append(_plain(part))
    return names


def _plain(part: str) -> str:
    """A name without the dots and spaces at its end, which some file systems drop."""
    name = part.rstrip(". ")
    if not name:
        raise PathError("The path holds a name of dots and spaces only.")
    return name
