"""A JSON object as its text: members are set and removed, every other byte stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

from comfyops.errors import SecretsError

_SPACE = re.compile(r"[ \t\r\n]*")
_INDENT = re.compile(r"\n([ \t]+)")
_BOM = "\ufeff"


def loads(data: bytes | None) -> dict[str, Any]:
    """The object, {} for an empty file. Raises SecretsError."""
    body = _body(text_of(data))
    return _object(body) if body.strip() else {}


def with_value(data: bytes | None, names: Sequence[str], value: str | None) -> bytes:
    """The file with the member that `names` lead to set to a text; None removes it.

    Missing objects on the way are made. Raises SecretsError for what is no JSON object, and where a name on the way
    leads into something else.
    """
    text = text_of(data)
    body = _body(text)
    if not body.strip():
        body = "{\n}\n"
    _object(body)
    try:
        made = _changed(body, _spaces(body, 0), list(names), value, _Style.of(body), 1)
        return (text[: len(text) - len(_body(text))] + made).encode()
    except UnicodeEncodeError:
        raise SecretsError("A value with broken text cannot be written into a JSON file.") from None


@dataclass(frozen=True, slots=True)
class _Style:
    """How a file is laid out: its line end and the indentation of one level, both "" where it is one line.

    `space` stands after colons, and in one line after commas.
    """

    newline: str
    indent: str
    space: str

    @classmethod
    def of(cls, body: str) -> _Style:
        space = "" if '":' in body and '": ' not in body else " "
        if "\n" not in body.strip():
            return cls("", "", space)
        found = _INDENT.search(body)
        return cls("\r\n" if "\r\n" in body else "\n", found[1] if found else "  ", space)

    def around(self, member: str, depth: int) -> str:
        """The only member of an object whose members stand at this depth, with the white space around it."""
        if not self.newline:
            return member
        return f"{self.newline}{self.indent * depth}{member}{self.newline}{self.indent * (depth - 1)}"

    def member(self, names: Sequence[str], value: str, depth: int) -> str:
        """A member, through as many objects as there are names."""
        name, *rest = names
        inner = "{" + self.around(self.member(rest, value, depth + 1), depth + 1) + "}" if rest else _quoted(value)
        return f"{_quoted(name)}:{self.space}{inner}"


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member stands in the text."""

    name: str
    start: int
    value: int
    end: int


def _changed(text: str, at: int, names: list[str], value: str | None, style: _Style, depth: int) -> str:
    """The text with a member of the object that begins at `at` changed."""
    members = _members(text, at)
    name, *rest = names
    mine = [item for item in members if item.name == name]
    if mine and rest:
        inner = mine[-1].value  # of several members of one name readers take the last
        if text[inner] == "{":
            return _changed(text, inner, rest, value, style, depth + 1)
        raise SecretsError("A key of a json target leads into something that is no object.")
    if value is None:
        return _changed(_without(text, at, members, mine[-1]), at, names, None, style, depth) if mine else text
    if mine:
        return text[: mine[-1].value] + _quoted(value) + text[mine[-1].end :]
    return _added(text, at, members, style.member(names, value, depth), style, depth)


def _added(text: str, at: int, members: list[_Member], made: str, style: _Style, depth: int) -> str:
    if not members:
        end = _spaces(text, at + 1)
        return text[: at + 1] + style.around(made, depth) + text[end:]
    last, before = members[-1].end, text[at + 1 : members[0].start] or style.space
    return f"{text[:last]},{before}{made}{text[last:]}"


def _without(text: str, at: int, members: list[_Member], gone: _Member) -> str:
    """The text without a member and one comma."""
    number = members.index(gone)
    if number:
        start, end = members[number - 1].end, gone.end
    elif len(members) > 1:
        start, end = gone.start, members[1].start
    else:
        start, end = at + 1, _spaces(text, gone.end)
    return text[:start] + text[end:]


def _members(text: str, at: int) -> list[_Member]:
    """The members of the object that begins at `at`; the text is known to be JSON."""
    found: list[_Member] = []
    at = _spaces(text, at + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        value = _spaces(text, _spaces(text, end) + 1)
        _, after = _DECODER.raw_decode(text, value)
        found.append(_Member(name, at, value, after))
        at = _spaces(text, after)
        if text[at] == ",":
            at = _spaces(text, at + 1)
    return found


def _object(body: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(body)
    except (ValueError, RecursionError):
        raise SecretsError("A json target is not JSON.") from None
    if not isinstance(value, dict):
        raise SecretsError("A json target is no JSON object.")
    return value


def text_of(data: bytes | None) -> str:
    """What a target holds. Raises SecretsError where that is no text in UTF-8."""
    try:
        return (data or b"").decode()
    except UnicodeDecodeError:
        raise SecretsError("A target is not text in UTF-8.") from None


def _body(text: str) -> str:
    return text.removeprefix(_BOM)


def _spaces(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches anywhere
    return found.end()


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refused(_: str) -> None:
    raise ValueError("not JSON")


def _number(_: str) -> None:
    """What is no text; a number may be larger than any that there is."""


_DECODER = JSONDecoder(parse_constant=_refused, parse_int=_number, parse_float=_number)
