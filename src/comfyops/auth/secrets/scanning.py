"""Finds what looks like a real secret in files that were never meant to hold one. It tells where, never what."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyops.auth.secrets.strength import is_published, password_problem
from comfyops.errors import SecretsError

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is read, unpacked; of a larger one only so much is looked at."""

_SKIPPED = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__"})
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16,}"),
        ("ComfyOps token", r"\bcops_[0-9a-f]{16}_[\w-]{43}(?![\w-])"),
        ("Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}\b"),
        ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,})\b"),
        ("GitLab token", r"\bglpat-[\w-]{20,}"),
        ("Slack token", r"\bxox[abposr]-[\w-]{20,}"),
        ("API key", r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}"),
        ("AWS key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("Google key", r"\bAIza[\w-]{35}\b"),
        ("bcrypt hash", r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"),
        ("signed token", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
        ("password in an address", r"(?<=://)[^/\s:@\"'{}<>]+:[^/\s@\"'{}<>]{8,}(?=@[\w.-])"),
    )
)  # fmt: skip
_WORD = re.compile(r"[\w$./+=-]{12,128}")  # what may be a token that somebody has published


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place that looks like a secret. `digest` (SHA-256, shortened) tells equal ones, and is what allowlists hold."""

    file: Path
    line: int
    kind: str
    digest: str


def suspects(file: Path, text: str, allowed: Collection[str] = ()) -> Iterator[Suspect]:
    """Pure: what looks like a secret in a text; `allowed` are digests of values that are known to be none."""
    for kind, value, start in _found(text):
        digest = hashlib.sha256(value.encode()).hexdigest()[:16]
        if digest not in allowed:
            yield Suspect(file, text.count("\n", 0, start) + 1, kind, digest)


def scan(files: Iterable[Path], allowed: Collection[str] = ()) -> Iterator[Suspect]:
    """What looks like a secret in these files, packed ones (.gz) too.

    Raises SecretsError for one that cannot be read.
    """
    for file in files:
        yield from suspects(file, _text(file), allowed)


def files_below(folder: Path) -> Iterator[Path]:
    """Every plain file of a folder, but not those of version control, environments and caches; links are left out.

    Raises SecretsError where there is no such folder.
    """
    if not folder.is_dir():
        raise SecretsError(f"{folder} is no folder.", hint="Name a folder to look through.")
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _found(text: str) -> Iterator[tuple[str, str, int]]:
    for kind, pattern in _KINDS:
        for match in pattern.finditer(text):
            if kind != "password in an address" or password_problem(match[0].partition(":")[2]) is None:
                yield kind, match[0], match.start()
    for match in _WORD.finditer(text):
        if is_published(match[0]):
            yield "published token", match[0], match.start()


def _text(file: Path) -> str:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            return opened.read(LARGEST).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise SecretsError(
            f"{file} cannot be read: {error}.", hint="See to its permissions, or leave it out."
        ) from error
