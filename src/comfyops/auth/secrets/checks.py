"""What is wrong with secrets as they are: drift, weakness, windows that are over, permissions, git."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from comfyops.auth.secrets import conf_variants, git_check, importing, plan, private_files, strength
from comfyops.auth.secrets.conf_variants import Found
from comfyops.auth.secrets.model import Document
from comfyops.auth.secrets.plan import Plan
from comfyops.auth.secrets.store import Store
from comfyops.errors import SecretsError, StorageError


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark: a stable code, `error` or `warning`, what it is about, and a sentence without any value."""

    code: str
    severity: str
    subject: str
    message: str


def findings(store: Store, document: Document, made: Plan, now: datetime) -> tuple[Finding, ...]:
    """Everything that is wrong with a store."""
    return (*_drift(made), *_weak(document), *_windows(document, now), *_permissions(store), *_git(store, document))


def audit(store: Store, document: Document | None, now: datetime) -> tuple[Finding, ...]:
    """What the documented places hold beside the targets: copies that nothing keeps in step."""
    declared = set() if document is None else {os.path.realpath(store.path(target)) for target in document.targets}
    if document is None:
        words = "there is no document of secrets; `comfyops secrets sync --unify` makes one"
        found = [Finding("no_document", "error", str(store.file), words)]
    else:
        found = []
    for name in importing.USUAL:
        path = store.root / name
        if os.path.realpath(path) in declared:
            continue
        try:
            found += _copy(name, path.name, private_files.look(path).data, document)
        except StorageError as error:
            found.append(Finding("unreadable", "warning", name, error.message.rstrip(".")))
    return tuple(found)


def _copy(path: str, name: str, data: bytes | None, document: Document | None) -> Iterator[Finding]:
    if data is None:
        return
    try:
        held = conf_variants.read(name, data)
    except SecretsError as error:
        yield Finding("damaged", "warning", path, error.message.rstrip("."))
        return
    yield from (Finding("damaged", "warning", path, problem) for problem in held.problems)
    if held.hash is None and held.password is None:
        return
    yield Finding("undeclared_copy", "warning", path, f"holds a secret but is no target: {_marks(held, document)}")
    for field, value in (("hash", held.hash), ("password", held.password)):
        problem = strength.field_problem(field, value) if value else None
        if problem:
            yield Finding("weak_secret", "warning", path, f"its {field} is refused: {problem}")


def _marks(held: Found, document: Document | None) -> str:
    if document is None:
        return "nothing to compare it with"
    known = {value for secret in document.secrets.values() for value in secret.fields.values()}
    mine = [value for value in (held.hash, held.password) if value]
    marks = " ".join(plan.fingerprint(value, document.fingerprint_key) for value in mine)
    return f"{'the present one' if set(mine) <= known else 'another one'} ({marks})"


def _drift(made: Plan) -> Iterator[Finding]:
    for item in made.targets:
        if item.problem:
            yield Finding("unreadable", "error", item.target.path, item.problem.rstrip("."))
        for change in item.changes:
            what = f"{change.key} would be {_DONE[change.action]}" if change.key else "its permissions differ"
            yield Finding("drift", "error", item.target.path, what)


def _weak(document: Document) -> Iterator[Finding]:
    for secret in document.secrets.values():
        for field, value in secret.fields.items():
            problem = strength.field_problem(field, value)
            if problem:
                yield Finding("weak_secret", "error", f"{secret.name}.{field}", f"it is refused: {problem}")


def _windows(document: Document, now: datetime) -> Iterator[Finding]:
    for secret in document.secrets.values():
        if secret.previous and not secret.overlaps(now):
            words = "its old value is past its window; `comfyops secrets apply` removes it"
            yield Finding("window_over", "error", secret.name, words)


def _permissions(store: Store) -> Iterator[Finding]:
    for path in store.too_open():
        yield Finding("permissions", "error", path.name, "others than its owner have rights on it")


def _git(store: Store, document: Document) -> Iterator[Finding]:
    named = {store.path(target): target.path for target in document.targets} | {store.file.absolute(): store.file.name}
    for item in git_check.exposures(named):
        severity = "error" if item.state == "tracked" else "warning"
        yield Finding(f"git_{item.state}", severity, named[item.path], item.words)


_DONE = {"add": "added", "change": "changed", "remove": "removed"}
