"""What a folder under git says of itself, read from git's own files: no git has to be installed, and nothing runs."""

from __future__ import annotations

import configparser
import re
from contextlib import suppress
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A whole commit: SHA-1 or SHA-256."""

_REFERENCE = re.compile(r"refs/[\w./-]+")


def commit_of(folder: Path) -> str:
    """The commit that a folder under git is at; "" where there is none."""
    git = folder / ".git"
    with suppress(OSError, UnicodeDecodeError):
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head if COMMIT.fullmatch(head) else ""
        name = head.removeprefix("ref: ")
        if not _REFERENCE.fullmatch(name) or ".." in name:
            return ""
        if (git / name).is_file():
            loose = (git / name).read_text(encoding="utf-8").strip()
            return loose if COMMIT.fullmatch(loose) else ""
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
        found = (line.split(" ")[0] for line in packed if line.endswith(f" {name}"))
        return next((commit for commit in found if COMMIT.fullmatch(commit)), "")
    return ""


def origin_of(folder: Path) -> str:
    """Where a folder under git was cloned from, without a user's name and password; "" where it does not say."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    with suppress(OSError, UnicodeDecodeError, configparser.Error):
        parser.read(folder / ".git" / "config", encoding="utf-8")
    return without_secrets(parser.get('remote "origin"', "url", fallback=""))


def without_secrets(url: str) -> str:
    """An address without a user's name and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)
