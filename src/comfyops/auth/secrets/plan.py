"""What would have to change so that every target agrees with the document.

A plan is shown before it is done, and the very same plan is done. It names keys and shows fingerprints, which are keyed
with a secret of the document: nobody can find a value by trying; never a value.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from comfyops.auth.secrets.formats import FORMATS
from comfyops.auth.secrets.model import Actual, Document, Target
from comfyops.errors import SecretsError


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do: `action` is add, change, remove, or mode; fingerprints (or modes) before and after."""

    action: str
    key: str = ""
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What is to be done to one target; `problem` says why nothing can be."""

    target: Target
    changes: tuple[Change, ...]
    actual: Actual
    content: bytes | None = field(default=None, repr=False)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to all targets."""

    targets: tuple[TargetPlan, ...]

    @property
    def drift(self) -> bool:
        """Whether anything differs, or cannot be compared."""
        return any(item.changes or item.problem for item in self.targets)


def fingerprint(value: str, key: str) -> str:
    """Eight hexadecimal digits that tell values apart, for those who have the key."""
    return hmac.new(key.encode(), value.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:8]


def make(document: Document, actual: Mapping[str, Actual], now: datetime) -> Plan:
    """Compare the document with files; `actual` holds one for the path of every target."""
    return Plan(tuple(_planned(document, target, actual[target.path], now) for target in document.targets))


def _planned(document: Document, target: Target, actual: Actual, now: datetime) -> TargetPlan:
    wanted = {key: document.value(reference, now) for key, reference in target.keys.items()}
    form = FORMATS[target.format]
    if actual.problem:
        return TargetPlan(target, (), actual, problem=actual.problem)
    absent = [target.keys[key] for key in form.needed if wanted.get(key) is None]
    if absent:
        return TargetPlan(target, (), actual, problem=f"The value that this file is made of, {absent[0]}, is absent.")
    try:
        there = form.read(actual.data)
        changes = [_change(key, key in there, there.get(key), value, document) for key, value in wanted.items()]
        found = [change for change in changes if change is not None]
        content = form.write(actual.data, wanted) if found else actual.data
    except SecretsError as error:
        return TargetPlan(target, (), actual, problem=error.message)
    if actual.data is not None and actual.mode not in (None, target.mode):
        found.append(Change("mode", "", f"{actual.mode:04o}", f"{target.mode:04o}"))
    return TargetPlan(target, tuple(found), actual, content)


def _change(key: str, is_there: bool, before: str | None, after: str | None, document: Document) -> Change | None:
    if after == before and is_there == (after is not None):
        return None
    old, new = (None if value is None else fingerprint(value, document.fingerprint_key) for value in (before, after))
    action = "remove" if after is None else "change" if is_there else "add"
    return Change(action, key, old, new)
