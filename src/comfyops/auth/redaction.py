"""Keeps secrets out of logs and records: what looks like one, or is known to be one, becomes stars."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

STARS = "****"

_NAMES = (
    r"(?:[\w.-]{0,40}(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]{0,40}"
    r"|(?:[\w.-]{0,40}[_.-])?(?:token|pwd|cookie|authorization)(?![\w.-])|set-cookie|comfyops_session|code_verifier)"
)
_START = r"(?:\b|(?<=%[0-9A-F]{2}))"  # of a word, also after an encoded sign
_QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (r"cops_([0-9a-f]{16})_[\w-]{8,}", rf"cops_\1_{STARS}"),
        (r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{10,}", STARS),
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", STARS),
        (r"\b(bearer)(\s+|%20|\+)(?!realm)[^\s,;\"'\\]{4,}", rf"\1\2{STARS}"),
        (r"\b(basic|digest)(\s+|%20|\+)(?-i:(?=[a-z]*[A-Z0-9+/=]))[^\s,;\"'\\]{4,}", rf"\1\2{STARS}"),
        (r"\b(set-cookie|cookie|proxy-authorization|authorization)(\"?\s*:\s*)(?!\"?(?:bearer|basic|digest)\b)[^\r\n]+",
         rf"\1\2{STARS}"),
        (rf"{_START}({_NAMES})([\"']?\s*(?:=|%3D)\s*)(?:b?(?:{_QUOTED})|(?!\*\*\*\*)[^\s&,;\"'}})\]]+)",
         rf"\1\2{STARS}"),
        (rf"{_START}({_NAMES})([\"']?\s*:\s*)(?:b?(?:{_QUOTED})|(?!\s*\*\*\*\*)[^\r\n&,;\"'}})\]]+)", rf"\1\2{STARS}"),
        (rf"([\"'](?:{_NAMES})[\"']\s*,\s*b?)(?:{_QUOTED})", rf"\1{STARS}"),
        (r"(://[^/\s:@]{0,200}:)[^/\s@]+@", rf"\1{STARS}@"),
        (rf"{_START}(?:hf_|ghp_|gho_|github_pat_|glpat-|xox[abpr]-|sk-|AKIA)[\w-]{{12,}}", STARS),
        (r"(?:(?<![\w-])|(?<=%[0-9A-F]{2}))eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", STARS),
    )
)  # fmt: skip
_SHORTEST_KNOWN = 6  # characters; shorter ones are words that occur by chance
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
# Every pattern needs one of these, in small letters; most texts hold none and are done.
_MARKS = (
    "token", "://", "key", "cookie", "bearer", "basic", "digest", "authoriz", "passw", "passphrase", "secret",
    "credential", "pwd", "session", "verifier", "cops_", "$2", "private", "hf_", "ghp_", "gho_", "github_pat_",
    "glpat-", "xox", "sk-", "akia", "eyj",
)  # fmt: skip


class _Known:
    """Secrets that this process was told of, longest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.secrets: tuple[str, ...] = ()

    def add(self, secrets: Iterable[str]) -> None:
        with self._lock:
            wanted = {*self.secrets, *(secret for secret in secrets if len(secret) >= _SHORTEST_KNOWN)}
            self.secrets = tuple(sorted(wanted, key=len, reverse=True))


_known = _Known()


def remember(*secrets: str) -> None:
    """Tell of secrets (six characters or more) that must never show, whatever they look like."""
    _known.add(secrets)


def redact(text: str) -> str:
    """The text with stars in the place of secrets; who it is about stays."""
    for secret in _known.secrets:
        if secret in text:
            text = text.replace(secret, STARS)
    if is_plain(text):
        return text
    for pattern, new in _PATTERNS:
        text = pattern.sub(new, text)
    return text


def is_plain(text: str) -> bool:
    """Whether a text surely holds no secret, which is quickly said of most texts."""
    small = text.lower()
    return not any(mark in small for mark in _MARKS) and not any(secret in text for secret in _known.secrets)


def redacted(value: Any, name: str = "") -> Any:
    """A value of JSON types with stars in the place of secrets; whatever stands under a secret's name is one."""
    if isinstance(value, Mapping):
        return {str(key): redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, name) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if name and _SECRET_NAME.fullmatch(name):
        return STARS
    return value if isinstance(value, int | float) else redact(str(value))


class RedactionFilter(logging.Filter):
    """Cleans every record that passes: message, arguments, traceback, stack and extra attributes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; it always passes."""
        clean(record)
        return True


def install(*handlers: logging.Handler) -> None:
    """Clean what these handlers write; without any, those of the root logger."""
    for handler in handlers or logging.getLogger().handlers:
        if not any(isinstance(item, RedactionFilter) for item in handler.filters):
            handler.addFilter(RedactionFilter())


def clean(record: logging.LogRecord) -> None:
    """Take secrets out of a log record. One that cannot be put together loses its arguments."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format must not let its arguments through
        message = f"{record.msg} (arguments left out)"
    record.msg, record.args = redact(message), ()
    if record.exc_info:
        record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        record.exc_info = None
    elif record.exc_text:
        record.exc_text = redact(record.exc_text)
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    for name in record.__dict__.keys() - _STANDARD:
        record.__dict__[name] = redacted(record.__dict__[name], name)


_STANDARD = logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys() | {"message", "asctime", "taskName"}
