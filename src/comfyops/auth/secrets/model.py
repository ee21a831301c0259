"""The document that holds the secrets: `.secrets/comfyops.yaml`.

    schema: comfyops-secrets/1
    revision: 3                      # counts up with every change
    fingerprint_key: 9f0c...         # keys the fingerprints that plans show
    secrets:
      comfyui:
        kind: login                  # fields hash, password, username; or `token`, with the field value
        fields: {hash: "$2b$12$...", username: admin}
        created: "2026-01-31T10:00:00+00:00"
        previous: {hash: "$2b$12$..."}        # after a rotation, until its window ends
        previous_until: "2026-02-01T10:00:00+00:00"
    targets:
      - {path: .env, format: env, mode: "0600", keys: {COMFYUI_API_TOKEN: comfyui.hash}}

A key's value is a reference: `NAME.FIELD`, or `NAME.previous.FIELD`, which is absent outside of a window.
"""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from comfyops.errors import NotJsonError, SecretsError
from comfyops.support import yaml_text

SCHEMA = "comfyops-secrets/1"
FIELDS = {"token": ("value",), "login": ("hash", "password", "username")}
"""The fields of each kind of secret; the first one must be there."""
PUBLIC_FIELDS = frozenset({"username"})
DEFAULT_MODE = 0o600

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret: its fields, and those before the last rotation, which stay in force until `previous_until`."""

    name: str
    kind: str
    fields: Mapping[str, str] = field(repr=False)
    created: datetime
    previous: Mapping[str, str] = field(default_factory=dict, repr=False)
    previous_until: datetime | None = None

    def overlaps(self, now: datetime) -> bool:
        """Whether the value before the last rotation is still in force."""
        return bool(self.previous) and self.previous_until is not None and now < self.previous_until


@dataclass(frozen=True, slots=True)
class Target:
    """A file that must hold secrets: `keys` maps its keys to references; `mode` is its permissions."""

    path: str
    format: str
    keys: Mapping[str, str]
    mode: int = DEFAULT_MODE


@dataclass(frozen=True, slots=True)
class Actual:
    """A file as it is: its bytes and permissions; both None where there is none (on Windows, no permissions).

    `problem` says why it cannot be read.
    """

    data: bytes | None = field(default=None, repr=False)
    mode: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The whole document; `revision` counts its changes."""

    revision: int
    fingerprint_key: str = field(repr=False)
    secrets: Mapping[str, Secret]
    targets: tuple[Target, ...] = ()

    def value(self, reference: str, now: datetime) -> str | None:
        """What a reference stands for; None for an absent field, or outside of the window of a rotation.

        Raises SecretsError for a reference to nothing that can be.
        """
        name, _, rest = reference.partition(".")
        before, _, key = rest.rpartition(".")
        secret = self.secrets.get(name)
        if secret is None or before not in ("", "previous") or key not in FIELDS[secret.kind]:
            # It is not quoted: a value may stand in its place.
            raise SecretsError("A reference leads nowhere.", hint=_hint(secret))
        if before:
            return secret.previous.get(key) if secret.overlaps(now) else None
        return secret.fields.get(key)

    def with_secret(self, secret: Secret) -> Document:
        """This document with one secret set, as the next revision."""
        return replace(self, revision=self.revision + 1, secrets={**self.secrets, secret.name: secret})

    def with_targets(self, targets: tuple[Target, ...]) -> Document:
        """This document with other targets, as the next revision."""
        return replace(self, revision=self.revision + 1, targets=targets)


def empty() -> Document:
    """A document without secrets, with a new key for fingerprints."""
    return Document(0, random.token_hex(32), {})


def check_name(name: str) -> str:
    """The name of a secret. Raises SecretsError."""
    if not _NAME.fullmatch(name):
        raise SecretsError("A secret's name is made of letters, digits, - and _, and begins with a letter.")
    return name


def check_path(path: str) -> str:
    """The path of a target. Raises SecretsError."""
    if not path or path != path.strip() or any(ord(char) < 32 for char in path):
        raise SecretsError("A target has no usable path.")
    return path


def loads(data: bytes) -> Document:
    """Read a document.

    Raises SecretsError, which names the place and never a value.
    """
    try:
        value = yaml_text.loads(data, "The document of secrets")
    except NotJsonError as error:
        at = re.search(r" at line \d+, column \d+", error.message)
        # The parser's own words may quote what stands there.
        raise SecretsError(f"The document of secrets is not YAML{at[0] if at else ''}.") from None
    top = _mapping(value, "the document", ("schema", "revision", "fingerprint_key", "secrets", "targets"))
    if top.get("schema") != SCHEMA:
        raise SecretsError(f"The document of secrets is not of schema {SCHEMA}.")
    revision, key = top.get("revision"), top.get("fingerprint_key")
    if type(revision) is not int or revision < 0 or not isinstance(key, str) or len(key) < 32:
        raise SecretsError("The document of secrets needs a revision (a number) and a fingerprint_key (32 or more).")
    named = _mapping(top.get("secrets"), "secrets", None)
    secrets = {check_name(name): _secret(name, item) for name, item in named.items()}
    targets = top.get("targets") or []
    if not isinstance(targets, list):
        raise SecretsError("`targets` of the document of secrets is not a list.")
    made = Document(revision, key, secrets, tuple(_target(number, item) for number, item in enumerate(targets, 1)))
    _check_targets(made)
    return made


def dumps(document: Document) -> bytes:
    """The document as YAML that `loads` reads back."""
    secrets = {name: _plain(secret) for name, secret in document.secrets.items()}
    targets = [
        {"path": item.path, "format": item.format, "mode": f"{item.mode:04o}", "keys": dict(item.keys)}
        for item in document.targets
    ]
    value = {"schema": SCHEMA, "revision": document.revision, "fingerprint_key": document.fingerprint_key}
    head = "# The source of truth for these secrets. Change it, then run: comfyops secrets apply\n"
    return (head + yaml_text.dumps({**value, "secrets": secrets, "targets": targets})).encode()


def _plain(secret: Secret) -> dict[str, Any]:
    value = {"kind": secret.kind, "fields": dict(secret.fields), "created": secret.created.isoformat()}
    if secret.previous and secret.previous_until is not None:
        value |= {"previous": dict(secret.previous), "previous_until": secret.previous_until.isoformat()}
    return value


def _secret(name: str, value: Any) -> Secret:
    where = f"secrets.{name}"
    item = _mapping(value, where, ("kind", "fields", "created", "previous", "previous_until"))
    kind = item.get("kind")
    if kind not in FIELDS:
        raise SecretsError(f"`{where}.kind` is not one of {', '.join(FIELDS)}.")
    fields = _texts(item.get("fields"), f"{where}.fields", FIELDS[kind])
    if FIELDS[kind][0] not in fields:
        raise SecretsError(f"`{where}.fields` lacks {FIELDS[kind][0]}.")
    previous = _texts(item["previous"], f"{where}.previous", FIELDS[kind]) if item.get("previous") else {}
    until = _moment(item["previous_until"], f"{where}.previous_until") if "previous_until" in item else None
    if bool(previous) != (until is not None):
        raise SecretsError(f"`{where}` needs both of previous and previous_until, or neither.")
    return Secret(name, kind, fields, _moment(item.get("created"), f"{where}.created"), previous, until)


def _target(number: int, value: Any) -> Target:
    where = f"targets[{number}]"
    item = _mapping(value, where, ("path", "format", "mode", "keys"))
    path, form = item.get("path"), item.get("format")
    if not isinstance(path, str) or not isinstance(form, str):
        raise SecretsError(f"`{where}` needs a path and a format.")
    mode = str(item.get("mode", "0600"))
    if not re.fullmatch(r"0?[0-7]{3}", mode) or int(mode, 8) & 0o137 or not int(mode, 8) & 0o400:
        raise SecretsError(f"`{where}.mode` is not like 0600 or 0640: others must not read it, nobody runs it.")
    return Target(check_path(path), form, _texts(item.get("keys"), f"{where}.keys", None), int(mode, 8))


def _check_targets(document: Document) -> None:
    from comfyops.auth.secrets.formats import FORMATS

    seen: set[str] = set()
    for target in document.targets:
        if target.format not in FORMATS:
            raise SecretsError(f"{target.path} has a format that is not one of {', '.join(FORMATS)}.")
        if target.path in seen:
            raise SecretsError(f"{target.path} is declared as a target twice.")
        seen.add(target.path)
        FORMATS[target.format].check_keys(tuple(target.keys))
        for key, reference in target.keys.items():
            try:
                document.value(reference, datetime.now(UTC))
            except SecretsError as error:
                words = f"The reference of {key} in the target {target.path} leads nowhere."
                raise SecretsError(words, hint=error.hint) from None


def _mapping(value: Any, where: str, known: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SecretsError(f"`{where}` is not a mapping of names.")
    for key in value:
        if known is not None and key not in known:
            # An unknown name may be a value that slipped out of its place: it is counted, not shown.
            raise SecretsError(f"`{where}` has a field that is none of {', '.join(known)}.")
    return value


def _texts(value: Any, where: str, known: tuple[str, ...] | None) -> dict[str, str]:
    item = _mapping(value, where, known)
    if not item or not all(isinstance(text, str) and text and _is_whole(text) for text in item.values()):
        raise SecretsError(f"`{where}` holds something that is not a text, or nothing; put values in quotes.")
    return item


def _is_whole(text: str) -> bool:
    """Whether a text can be written in UTF-8: it holds no half of a character."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _moment(value: Any, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise SecretsError(f"`{where}` is not a time such as 2026-01-31T10:00:00+00:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hint(secret: Secret | None) -> str:
    if secret is None:
        return "It begins with the name of a secret of the document, as in NAME.FIELD."
    return f"Fields of {secret.name} are {', '.join(FIELDS[secret.kind])}; NAME.previous.FIELD is the one before."
