"""Names of delivered files: a template with fields in braces. Pure: no input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from comfyops.errors import UsageError
from comfyops.workflows.nearest import nearest

DEFAULT = "{date}/{job}/{index}-{stem}{ext}"
"""Each output has a name of its own, and always the same one."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_ODD = re.compile(r"[^\w.()+,=@#~ -]")
_LONGEST = 150  # bytes of one part, so that file systems take it with a suffix


@dataclass(frozen=True, slots=True)
class Facts:
    """What a template may use. `at` is when the job finished, in seconds since the epoch; `hash` the file's BLAKE3."""

    job: str
    index: int
    filename: str
    hash: str
    at: float
    owner: str = ""
    name: str = ""
    batch: str = ""
    node: str = ""
    kind: str = ""

    def values(self) -> dict[str, str]:
        """The value of each field, in UTC."""
        when = datetime.fromtimestamp(self.at, UTC)
        stem, dot, ext = self.filename.rpartition(".")
        return {
            "job": self.job,
            "index": f"{self.index:03d}",
            "filename": self.filename,
            "stem": stem if dot else self.filename,
            "ext": f".{ext}" if dot else "",
            "hash": self.hash,
            "owner": self.owner or "nobody",
            "name": self.name or "job",
            "batch": self.batch or "single",
            "node": self.node,
            "kind": self.kind or "other",
            "date": when.strftime("%Y-%m-%d"),
            "year": when.strftime("%Y"),
            "month": when.strftime("%m"),
            "day": when.strftime("%d"),
            "time": when.strftime("%H%M%S"),
        }


FIELDS = tuple(Facts("", 0, "", "", 0.0).values())


def check(template: str) -> str:
    """The template itself. Raises UsageError for one with unknown fields, or that leads out of its folder."""
    for name in _FIELD.findall(template):
        if name not in FIELDS:
            near = nearest(name, FIELDS)
            hint = f"Did you mean {{{near[0]}}}?" if near else f"There are {', '.join(FIELDS)}."
            raise UsageError(f"A name of deliveries has no field {{{name}}}.", hint=hint)
    rest = _FIELD.sub("x", template)
    parts = rest.split("/")
    if "{" in rest or "}" in rest or "\\" in rest or any(part.strip() in ("", ".", "..") for part in parts):
        hint = f"It looks like {DEFAULT}."
        raise UsageError(f"{template[:120]!r} is no template for names of deliveries.", hint=hint)
    return template


def key_of(template: str, facts: Facts) -> str:
    """The name of a file by a checked template: parts with "/" between them, each plain on every system."""
    values = {name: _plain(value) for name, value in facts.values().items()}
    filled = _FIELD.sub(lambda match: values[match[1]], template)
    return "/".join(_cut(part) for part in filled.split("/"))


def with_hash(key: str, digest: str) -> str:
    """The name for a file whose own name is taken by other bytes."""
    folder, slash, name = key.rpartition("/")
    stem, dot, ext = name.rpartition(".")
    named = f"{stem}-{digest[:12]}.{ext}" if dot and stem else f"{name}-{digest[:12]}"
    return f"{folder}{slash}{named}"


def _plain(value: str) -> str:
    return _ODD.sub("_", value)


def _cut(part: str) -> str:
    """A part that is no name for "here" or "above", not empty and not too long; its ending stays."""
    part = part.strip(" ").lstrip(".") or "_"
    raw = part.encode()
    if len(raw) <= _LONGEST:
        return part
    _, dot, ext = part.rpartition(".")
    ending = f".{ext}".encode() if dot and len(ext) <= 20 else b""
    return (raw[: _LONGEST - len(ending)] + ending).decode(errors="ignore")
