"""Backups: the document and every target, byte for byte, in one file; restoring puts them back.

Without a passphrase a backup is JSON of mode 0600. With one, a first line of JSON says how the key is made (scrypt),
and AES-256-GCM over the rest makes it unreadable and shows any change, of that line too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyops.auth.secrets import model, private_files
from comfyops.auth.secrets.store import Store
from comfyops.errors import MissingExtraError, PassphraseError, SecretsError, StorageError

SCHEMA = "comfyops-secrets-backup/1"
SEALED = "comfyops-secrets-backup-sealed/1"
KEEP = 20
"""Backups that are made before changes; older ones are removed."""

_COST = {"n": 2**15, "r": 8, "p": 1}  # scrypt: 32 MiB of memory and about 0.1 s
_MOST_COST = {"n": 2**20, "r": 32, "p": 16}
LEAST_PASSPHRASE = 12


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of a backup: its path as the document names it ("" is the document), bytes, permissions."""

    path: str
    data: bytes = field(repr=False)
    mode: int


def make(store: Store) -> bytes:
    """The backup of a store as bytes that hold the secrets. Raises SecretsError and StorageError."""
    document = store.load()
    files = [("", store.file), *((target.path, store.path(target)) for target in document.targets)]
    kept = []
    for name, path in files:
        actual = private_files.look(path)
        if actual.data is not None:
            text = base64.b64encode(actual.data).decode()
            digest = hashlib.sha256(actual.data).hexdigest()
            kept.append({"path": name, "mode": actual.mode or 0o600, "sha256": digest, "data": text})
    value = {"schema": SCHEMA, "created": datetime.now(UTC).isoformat(), "files": kept}
    return json.dumps(value, indent=1).encode()


def write(store: Store, passphrase: str | None, path: Path | None = None) -> Path:
    """Write a backup, encrypted where there is a passphrase, and return where it lies.

    Raises PassphraseError for one that is too short, SecretsError, StorageError, MissingExtraError.
    """
    data = make(store)
    if passphrase is not None:
        data = seal(data, passphrase)
    if path is None:
        folder = store.folder / "backups"
        private_files.make_folder(folder)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        path = folder / f"{stamp}.{'sealed' if passphrase else 'json'}"
    private_files.write(path, data)
    return path


def prune(store: Store, keep: int = KEEP) -> None:
    """Remove all but the newest backups of the store's own folder."""
    for path in _own(store)[:-keep]:
        with suppress(OSError):
            path.unlink()


def sweep(store: Store) -> None:
    """Remove halves of backups that a killed process has left. Only for who holds the lock."""
    with suppress(OSError):
        for left in (store.folder / "backups").glob(".*.part"):
            left.unlink(missing_ok=True)


def newest(store: Store) -> Path:
    """The newest backup of the store's own folder. Raises SecretsError where there is none, StorageError."""
    found = _own(store)
    if not found:
        raise SecretsError("There is no backup.", hint="Make one with `comfyops secrets backup`, or name a file.")
    return found[-1]


def _own(store: Store) -> list[Path]:
    """The backups of the store's own folder, the oldest first."""
    folder = store.folder / "backups"
    try:
        return sorted(folder.glob("*Z.*"))
    except OSError as error:
        raise StorageError(f"The backups in {folder} cannot be listed.", path=str(folder)) from error


def read(path: Path, passphrase: str | None) -> tuple[Kept, ...]:
    """The files of a backup, after every digest was checked. Raises PassphraseError, SecretsError, StorageError."""
    data = private_files.look(path).data
    if data is None:
        raise SecretsError(f"There is no backup at {path}.", hint="List the folder `backups` beside the document.")
    if data.startswith(b'{"schema": "' + SEALED.encode()):
        data = opened(data, passphrase)
    try:
        value = json.loads(data)
        if value["schema"] != SCHEMA:
            raise ValueError
        kept = tuple(_kept(item) for item in value["files"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise SecretsError(f"{path} is no whole backup of secrets.", hint="Choose another one.") from None
    if not any(item.path == "" for item in kept):
        raise SecretsError(f"{path} lacks the document.", hint="Choose another one.")
    return kept


@contextmanager
def restoring(
    store: Store, kept: tuple[Kept, ...], *, outside: bool = False
) -> Iterator[Callable[[], tuple[Path, ...]]]:
    """Write the files of a backup beside their places; what it gives puts them there, the document first.

    Raises SecretsError where a file is no target of the backup's own document, or lies outside of the root and
    `outside` is not set, and StorageError where one cannot be written: nothing has changed then.
    """
    document = model.loads(next(item.data for item in kept if item.path == ""))
    targets = {target.path for target in document.targets}
    places = [(item, store.path(item.path) if item.path else store.file) for item in kept]
    for item, path in places:
        if item.path and item.path not in targets:
            raise SecretsError("The backup holds a file that its document does not name.")
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(store.root))
        if item.path and not inside and not outside:
            raise SecretsError(f"{item.path} lies outside of {store.root}.", hint="Add --outside to restore it too.")
    store.make_folder()
    places.sort(key=lambda place: place[0].path)
    with private_files.staged((path, item.data, item.mode) for item, path in places) as put:

        def done() -> tuple[Path, ...]:
            put()
            return tuple(path for _, path in places)

        yield done


def seal(data: bytes, passphrase: str) -> bytes:
    """Encrypt. Raises PassphraseError for a passphrase that is too short, MissingExtraError."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise PassphraseError(
            f"The passphrase is shorter than {LEAST_PASSPHRASE} characters.", hint="Choose a longer one."
        )
    salt, nonce = os.urandom(16), os.urandom(12)
    head = {
        "schema": SEALED,
        "kdf": "scrypt",
        **_COST,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
        "cipher": "AES-256-GCM",
    }
    line = json.dumps(head).encode() + b"\n"
    return line + bytes(_cipher(_key(passphrase, salt, _COST)).encrypt(nonce, data, line))


def opened(data: bytes, passphrase: str | None) -> bytes:
    """Decrypt. Raises PassphraseError where the passphrase is wrong or anything was changed, MissingExtraError."""
    if passphrase is None:
        raise PassphraseError("This backup is encrypted, and no passphrase was given.")
    line, found, sealed = data.partition(b"\n")
    try:
        head = json.loads(line)
        cost = {name: int(head[name]) for name in _COST}
        salt, nonce = bytes.fromhex(head["salt"]), bytes.fromhex(head["nonce"])
        if not all(0 < cost[name] <= _MOST_COST[name] for name in cost) or len(nonce) != 12:
            raise ValueError
        key = _key(passphrase, salt, cost)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise PassphraseError("The head of this backup is damaged.", hint="Choose another one.") from None
    from cryptography.exceptions import InvalidTag

    try:
        return bytes(_cipher(key).decrypt(nonce, sealed, line + found))
    except InvalidTag:
        raise PassphraseError("The passphrase is wrong, or this backup was changed.") from None


def _kept(item: Any) -> Kept:
    data = base64.b64decode(item["data"], validate=True)
    if hashlib.sha256(data).hexdigest() != item["sha256"] or not isinstance(item["path"], str):
        raise ValueError
    return Kept(item["path"], data, int(item["mode"]) & 0o640 | 0o400 if item["path"] else 0o600)


def _key(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    most = 256 * cost["n"] * cost["r"]
    return hashlib.scrypt(passphrase.encode("utf-8", "surrogateescape"), salt=salt, **cost, dklen=32, maxmem=most)


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        hint = "Install it with: pip install 'comfyops[server]'"
        raise MissingExtraError(
            "Encryption needs the library cryptography, which is not installed.", hint=hint
        ) from error
    return AESGCM(key)
