"""What the commands about access share: the store and the records of the settings' home, passwords from stdin."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comfyops.cli.options import settings
from comfyops.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from comfyops.auth.administration import Administration
    from comfyops.auth.audit_store import AuditStore
    from comfyops.auth.store import Store
    from comfyops.config import Settings

Home = Annotated[Path | None, typer.Option("--home", help="Folder of auth.db and audit.db, else COMFYOPS_HOME.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin, one line.")]

_MOST = 8192  # bytes of a line with a password


@contextmanager
def access(home: Path | None) -> Iterator[tuple[Store, Administration]]:
    """The store, and what may be done to it, recorded under the name of the person at this machine.

    Who has this machine may keep even the last administrator out, at once: `comfyops auth init` makes another.

    Raises StorageError and MissingExtraError.
    """
    _need_extra()
    from comfyops.auth.administration import Administration
    from comfyops.auth.audit import AuditLog
    from comfyops.auth.store import Store

    with records(home) as (chosen, kept):
        store = Store.at_home(chosen.home)
        try:
            with AuditLog(kept) as audit:
                yield store, Administration(store, audit, f"cli:{person()}", keep_one=False)
        finally:
            store.close()


@contextmanager
def records(home: Path | None) -> Iterator[tuple[Settings, AuditStore]]:
    """The settings, and the records of who did what. Raises StorageError and MissingExtraError."""
    _need_extra()
    from comfyops.auth.audit_store import AuditStore

    chosen = settings(home=home)
    kept = AuditStore.at_home(chosen.home)
    try:
        yield chosen, kept
    finally:
        kept.close()


def password_from(stdin: bool) -> str:
    """A password: a line of stdin, else typed twice without being shown. Raises UsageError."""
    if stdin:
        return _line_of_stdin()
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("The password has to come from somewhere.", hint="Pipe it in with --password-stdin.")
    given = getpass.getpass("Password: ")
    if given != getpass.getpass("Again: "):
        raise UsageError("The two passwords are not the same.", hint="Run the command again.")
    return given


def _line_of_stdin() -> str:
    """The first line, as bytes: what the terminal's language is does not matter, a browser sends UTF-8 too."""
    try:
        line = b"" if sys.stdin is None else sys.stdin.buffer.readline(_MOST)  # None: it was closed
        given = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("The password on stdin is not text in UTF-8.") from None
    if not given:
        raise UsageError("There is no password on stdin.", hint="Pipe it in: --password-stdin < FILE.")
    return given


def when(seconds: float | None) -> str:
    """A time since the epoch for people, in UTC; "never" for none, "?" for what is no time."""
    try:
        return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):  # a file that somebody has changed
        return "?"


def no_administrator(store: Store) -> list[str]:
    """A note where nobody is left who may see to accounts."""
    left = any(user.role == "administrator" and not user.disabled for user in store.users.all())
    return [] if left else ["[yellow]there is no administrator now[/]: `comfyops auth init NAME` makes one"]


def person() -> str:
    """The name of the person at this machine, for the records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _need_extra() -> None:
    try:
        import bcrypt  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        hint = "Install it with: pip install 'comfyops[server]'."
        raise MissingExtraError("Access control needs the extra `server`.", hint=hint) from error
