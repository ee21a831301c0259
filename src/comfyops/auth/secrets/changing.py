"""What changes secrets, as whole steps: under the lock, after a backup, the document first, then its targets.

The new targets are written beside the old ones before anything changes; what cannot be written ends the step there. The
document is put before the targets: after a crash between them `check` says what is missing and `apply` does it.
`record` is told what is done, in words and fingerprints, just before: no crash leaves a change without its record. What
`record` raises ends the step too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from comfyops.auth.secrets import backups, importing, model, plan, private_files, rotation
from comfyops.auth.secrets.importing import Import
from comfyops.auth.secrets.model import Document, Secret
from comfyops.auth.secrets.plan import Plan, TargetPlan
from comfyops.auth.secrets.store import Store
from comfyops.errors import SecretsError

Record = Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a step did: the document now, the targets that were written, the backup made before (None: no need)."""

    document: Document
    written: tuple[TargetPlan, ...]
    backup: Path | None


def apply(store: Store, now: datetime, record: Record, passphrase: str | None = None) -> Changed:
    """Bring every target in step, and drop old values whose window is over. Raises SecretsError, StorageError."""
    with _changing(store) as document:
        ended = rotation.finished(document, None, now)
        made = store.plan(ended, now)
        return _done(store, document, ended, made, record, ("apply", {}), passphrase)


def rotate(
    store: Store,
    name: str,
    now: datetime,
    record: Record,
    *,
    overlap: timedelta,
    value: str | None = None,
    passphrase: str | None = None,
) -> Changed:
    """Give a secret a new value, random unless `value` is given, and bring every target in step.

    Raises SecretsError, WeakSecretError, StorageError.
    """
    with _changing(store) as held:
        document = rotation.finished(held, None, now)
        old = document.secrets.get(name)
        fields = rotation.fresh(old.kind, value, old.fields.get("username")) if old else {}
        fresh = rotation.rotated(document, name, fields, now, overlap)
        until = fresh.secrets[name].previous_until
        facts = {"name": name, **_marks(document, old), "old_valid_until": until.isoformat() if until else "now"}
        facts["after"] = _marks(fresh, fresh.secrets[name])["before"]
        made = store.plan(fresh, now)
        return _done(store, document, fresh, made, record, ("rotate", facts), passphrase)


def finish(store: Store, name: str, now: datetime, record: Record, passphrase: str | None = None) -> Changed:
    """End the window of a rotation at once. Raises SecretsError, StorageError."""
    with _changing(store) as document:
        if name not in document.secrets:
            raise SecretsError("There is no secret of this name.")
        ended = rotation.finished(document, frozenset({name}), now)
        made = store.plan(ended, now)
        return _done(store, document, ended, made, record, ("finish", {"name": name}), passphrase)


def create(store: Store, secret: Secret, record: Record, targets: tuple[model.Target, ...] = ()) -> Document:
    """Add a secret, making the document where there is none; targets are added, not applied. Raises SecretsError."""
    with _locked(store):
        document = store.load() if store.exists() else model.empty()
        if secret.name in document.secrets:
            raise SecretsError(f"There is a secret {secret.name} already.", hint="Rotate it without --create.")
        made = document.with_secret(secret)
        if targets:
            made = made.with_targets((*made.targets, *targets))
        record("create", {"name": secret.name, "after": _marks(made, secret)["before"]})
        store.save(made)
        return made


def take_over(
    store: Store,
    files: Sequence[Path],
    name: str,
    now: datetime,
    record: Record,
    passphrase: str | None = None,
    *,
    replace: bool = False,
    fresh: bool = False,
) -> Import:
    """Write what an import makes; targets are added, not applied. Raises as `importing.collect` does."""
    with _locked(store):
        document = store.load() if store.exists() else model.empty()
        made = importing.collect(store, files, document, name, now, replace=replace, fresh=fresh)
        if store.exists():
            backups.write(store, passphrase)
        store.plan(made.document, now)  # raises where the targets cannot be together
        record("import", {"name": name, "files": ", ".join(path.name for path, _ in made.read)})
        store.save(made.document)
        return made


def backup(store: Store, passphrase: str | None, path: Path | None) -> Path:
    """Write a backup of one moment; where it lies. Raises PassphraseError, SecretsError, StorageError."""
    with _changing(store):
        return backups.write(store, passphrase, path)


def restore(store: Store, file: Path, passphrase: str | None, record: Record, *, outside: bool) -> tuple[Path, ...]:
    """Put a backup back, after a backup of what is there. Raises PassphraseError, SecretsError, StorageError."""
    kept = backups.read(file, passphrase)
    with _locked(store):
        if _is_whole(store):
            backups.write(store, passphrase)
        with backups.restoring(store, kept, outside=outside) as put:
            record("restore", {"backup": file.name})
            return put()


def _done(
    store: Store,
    old: Document,
    new: Document,
    made: Plan,
    record: Record,
    entry: tuple[str, dict[str, str]],
    passphrase: str | None,
) -> Changed:
    """Backup, document, targets, record, where anything is to be changed."""
    changed = [item for item in made.targets if item.changes]
    kept = None
    with store.staged(made) as put:
        if new != old or any(item.actual.data is not None for item in changed):
            kept = backups.write(store, passphrase)
            backups.prune(store)
        if new != old or changed:
            action, facts = entry
            record(action, {**facts, "targets": ", ".join(item.target.path for item in changed)})
        if new != old or store.too_open():
            store.save(new)
        return Changed(new, put(), kept)


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    """Nobody else changes the store meanwhile; its folder is made where there is none."""
    store.make_folder()
    with private_files.locked(store.folder):
        store.sweep()
        backups.sweep(store)
        yield


@contextmanager
def _changing(store: Store) -> Iterator[Document]:
    """The document of a store that is there, which nobody else changes meanwhile."""
    store.load()  # so that nothing is made where there is none
    with _locked(store):
        yield store.load()


def _is_whole(store: Store) -> bool:
    try:
        store.load()
    except SecretsError:
        return False
    return True


def _marks(document: Document, secret: Secret | None) -> dict[str, str]:
    if secret is None:
        return {}
    value = secret.fields[model.FIELDS[secret.kind][0]]
    return {"before": plan.fingerprint(value, document.fingerprint_key)}
