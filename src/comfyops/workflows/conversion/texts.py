"""Texts that the editor changes on sending: dynamic prompts, and %Node.field% in the names of files.

Source: the official editor's extensions for dynamic prompts and for saving nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from comfyops.workflows.conversion.live import Live

SAVERS = frozenset(
    (
        "SaveImage", "SaveImageAdvanced", "SaveSVGNode", "SaveVideo", "SaveAnimatedWEBP", "SaveWEBM", "SaveAudio",
        "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "SaveGLB", "Save3DAdvanced", "SaveGaussianSplat",
        "SavePointCloud", "SaveAnimatedPNG", "CLIPSave", "VAESave", "ModelSave", "LoraSave", "SaveLatent",
    )
)  # fmt: skip
"""Classes whose `filename_prefix` may name other nodes' fields."""

_COMMENT_START = re.compile(r"/[*/]")
_LINE_END = re.compile(r"[\n\r\u2028\u2029]")
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1F\x7F]')
_DATE = re.compile(r"d{1,2}|M{1,2}|h{1,2}|m{1,2}|s{1,2}|yyyy|yy")


def dynamic_prompt(text: str) -> str:
    """The prompt without comments and with the first of each `{one|two}`.

    The editor draws one at random; a conversion that gives the same graph each time takes the first.
    """
    if "{" not in text and "\\" not in text and "/" not in text:
        return text
    return re.sub(r"\\([{}|])", r"\1", _choose(_without_comments(text)))


def _without_comments(text: str) -> str:
    """The text without /* ... */ and // ... to the line's end; a comment that does not end is none."""
    kept: list[str] = []
    at, block_ends = 0, True
    while found := _COMMENT_START.search(text, at):
        start = found.start()
        if found[0] == "//":
            line_end = _LINE_END.search(text, start)
            kept.append(text[at:start])
            at = line_end.start() if line_end is not None else len(text)
            continue
        end = text.find("*/", start + 2) if block_ends else -1
        block_ends = end >= 0
        kept.append(text[at : start if block_ends else start + 1])
        at = end + 2 if block_ends else start + 1
    return "".join((*kept, text[at:]))


def _choose(text: str) -> str:
    """The text with each choice replaced by its first alternative; a choice that does not end reaches to the end."""
    kept: list[str] = []
    later: list[bool] = []  # of each choice that is open: whether we are in an alternative after the first
    skipped = at = 0
    while at < len(text):
        char = text[at]
        piece = text[at : at + 2] if char == "\\" else char
        at += len(piece)
        if char == "{":
            later.append(False)
        elif char == "}" and later:
            skipped -= later.pop()
        elif char == "|" and later:
            skipped += not later[-1]
            later[-1] = True
        elif not skipped:
            kept.append(piece)
    return "".join(kept)


def replaced(text: str, nodes: Callable[[], Iterable[Live]], now: datetime | None) -> str:
    """A file name with `%Node.field%` and (where `now` is given) `%date:yyyy-MM-dd%` replaced."""
    if text.count("%") < 2:
        return text

    def one(found: re.Match[str]) -> str:
        words = found[1].split(".")
        if len(words) == 2:
            return _field(found[0], words[0], words[1], nodes())
        if words[0].startswith("date:") and now is not None:
            return _date(words[0][5:], now)
        return found[0]

    return _PLACEHOLDER.sub(one, text)


def _field(whole: str, name: str, field: str, nodes: Iterable[Live]) -> str:
    named = next((item for item in nodes if item.source.properties.get("Node name for S&R") == name), None)
    node = named or next((item for item in nodes if item.title == name), None)
    if node is None or field not in node.values:
        return whole
    value = node.values[field]
    shown = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return _UNSAFE.sub("_", shown)


def _date(pattern: str, now: datetime) -> str:
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def one(found: re.Match[str]) -> str:
        word = found[0]
        if word[0] == "y":
            return str(now.year) if word == "yyyy" else f"{now.year % 100:02}"
        return f"{parts[word[0]]:0{len(word)}}"

    return _DATE.sub(one, pattern)
