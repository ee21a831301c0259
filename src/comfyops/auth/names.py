"""Names of users, tokens and roles."""

from __future__ import annotations

import re

from comfyops.errors import AccountError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def is_name(text: str) -> bool:
    """Whether a text can be a name: 1 to 64 letters, digits and . _ @ + -"""
    return _NAME.fullmatch(text) is not None


def checked_name(name: str, what: str) -> str:
    """The name, where it is one. Raises AccountError."""
    if not is_name(name):
        raise AccountError(
            f"{name!r} cannot be the name of a {what}.",
            hint="A name has 1 to 64 letters, digits and . _ @ + -, and begins with a letter or digit.",
            name=name,
        )
    return name
