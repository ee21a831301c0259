"""Options that the commands of secrets share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from comfyops.auth.secrets import private_files
from comfyops.auth.secrets.changing import Record
from comfyops.auth.secrets.store import Store
from comfyops.cli.auth_options import person, records
from comfyops.cli.options import settings
from comfyops.errors import MissingFileError, PassphraseError, StorageError

SecretsFile = Annotated[
    Path | None, typer.Option("--secrets-file", help="The document of secrets, else COMFYOPS_SECRETS_FILE.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File whose first line is the passphrase, else COMFYOPS_BACKUP_PASSPHRASE."),
]


def store_of(secrets_file: Path | None) -> Store:
    """The document that is meant."""
    return Store(settings(secrets_file=secrets_file).secrets_file.expanduser())


@contextmanager
def recording() -> Iterator[Record]:
    """What writes changes into the audit log, before they are made, so that nothing goes unrecorded.

    Raises StorageError, as what it gives does, and MissingExtraError.
    """
    with records(None) as (_, kept):
        from comfyops.auth.audit import AuditLog

        with AuditLog(kept) as audit:

            def record(action: str, facts: Mapping[str, str]) -> None:
                target = facts.get("name", "")
                audit.record(f"secrets.{action}", actor=f"cli:{person()}", target=target, details=facts)
                if not audit.flush():
                    raise StorageError("The change cannot be recorded, and was not made.", hint="See to the disk.")

            yield record


def passphrase(file: Path | None) -> str | None:
    """The passphrase from a file, else of the settings; None where there is none.

    Raises MissingFileError, PassphraseError.
    """
    if file is None:
        held = settings().backup_passphrase
        return held.get_secret_value() if held is not None else None
    data = private_files.look(file).data
    if data is None:
        raise MissingFileError(f"{file} cannot be read: it does not exist.", path=str(file))
    try:
        first = data.decode("utf-8-sig").partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        first = ""
    if not first:
        raise PassphraseError(f"The first line of {file} is no passphrase.")
    return first
