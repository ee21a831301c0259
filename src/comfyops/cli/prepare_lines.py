"""What `workflow prepare` shows: the plan, what became of it, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.markup import escape

from comfyops.cli.output import count, in_words, plain
from comfyops.execution.lock_check import Row
from comfyops.execution.preparation import Preparation
from comfyops.execution.smoke import SmokeReport
from comfyops.models.check import Finding
from comfyops.models.provision import Outcome
from comfyops.workflows.problems import Severity
from comfyops.workflows.readiness import Fit, VramFit

_FITS = {Fit.FITS: "green", Fit.AFTER_UNLOADING: "green", Fit.TOO_LARGE: "yellow", Fit.UNKNOWN: "dim"}


def plan(found: Preparation) -> Iterator[str]:
    """Everything that is needed, line by line, with what is to be fetched and where it all fits."""
    yield f"[bold]{escape(found.subject.name)}[/]"
    for node in found.missing_nodes:
        url = f", {node.url}" if node.url else ""
        yield _row("red", "missing", f"node {node.class_type}", f"brought by {node.brought_by or 'nobody knows'}{url}")
    for node in found.coming:
        yield _row("yellow", "coming", f"node {node.class_type}", f"with the pack {node.brought_by}")
    for node in found.assumed:
        yield _row("yellow", "assumed", f"node {node.class_type}", f"the folder of {node.brought_by} is there")
    for problem in found.problems:
        colour = "yellow" if problem.severity is Severity.WARNING else "red"
        yield _row(colour, problem.severity.value, f"input {problem.node}.{problem.input}".rstrip("."), problem.message)
    yield from _models(found)
    for disk in found.disks:
        colour, word = ("green", "disk") if disk.is_enough else ("red", "too full")
        words = f"{in_words(disk.needed)} needed, {in_words(disk.free)} free"
        yield _row(colour, word, disk.path, words)
    yield _row(_FITS[found.vram.fit], "VRAM", str(found.vram.fit), _memory(found.vram))


def differing(rows: Iterable[Row]) -> Iterator[str]:
    """In what the lock is another one."""
    for row in rows:
        yield _row("yellow", "differs", row.name, f"{row.words} of the lock" if row.kind == "program" else row.words)


def outcomes(done: Sequence[Outcome]) -> Iterator[str]:
    """What became of each file."""
    for item in done:
        if item.ok:
            first = "nobody had promised its hash" if item.trust_on_first_use else f"sha256 {item.sha256}"
            yield _row("green", item.how, item.entry.id, first)
        else:
            yield _row("red", item.code, item.entry.id, f"{item.message} {item.hint}")


def smoke(reports: Sequence[SmokeReport]) -> Iterator[str]:
    """How the smoke runs went."""
    for item in reports:
        if item.ok:
            words = (
                f"{count(item.outputs, 'output')} in {item.seconds:.1f} s, {count(len(item.changes), 'input')} smaller"
            )
            yield _row("green", "ran", item.name, words)
        else:
            yield _row("red", item.code, item.name, f"{item.error} {item.hint}")
        if item.stand_ins:
            yield _row("dim", "", "", f"a grey picture stood for {', '.join(item.stand_ins)}")


def verdict(found: Preparation, *, packs: int, asked: bool) -> list[str]:
    """Where nothing is done: what would be; `packs` of custom nodes are to be installed."""
    if found.has_everything and not packs:
        return ["everything that it needs is there"]
    if not found.has_room:
        return ["there is no room for what is to be fetched"]
    fetch = found.plan.fetch if found.plan else ()
    if (fetch or packs) and asked:
        wanted = [f"fetches {count(len(fetch), 'file')}"] if fetch else []
        wanted += [f"installs {count(packs, 'pack')}"] if packs else []
        return [f"nothing was fetched: --yes {' and '.join(wanted)}"]
    return (
        ["it could run after this"]
        if found.can_run
        else ["it could not run: something is missing that nothing here brings"]
    )


def end(*, ready: bool, reports: Sequence[SmokeReport]) -> list[str]:
    """The last line."""
    if not ready:
        return ["it could not run: something is missing"]
    if all(item.skipped for item in reports):
        return ["everything that it needs is there; it was not tried (--server, or --launch)"]
    return ["it runs"] if all(item.ok for item in reports) else ["everything is there, but it does not run"]


def data(found: Preparation) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "workflow": found.subject.name,
        "sha256": found.subject.sha256,
        "missing_nodes": plain(found.missing_nodes),
        "assumed_nodes": plain(found.assumed),
        "coming_nodes": plain(found.coming),
        "problems": plain(found.problems),
        "models": [_model(item) for item in found.findings],
        "fetch": [
            {
                "model": item.entry.id,
                "target": item.target,
                "urls": item.entry.urls,
                "size": item.entry.size,
                "sha256": item.entry.sha256,
            }
            for item in (found.plan.fetch if found.plan else ())
        ],
        "blocked": [
            {"model": item.entry.id, "code": item.code, "message": item.message, "hint": item.hint}
            for item in found.blocked
        ],
        "disks": plain(found.disks),
        "vram": plain(found.vram),
        "can_run": found.can_run,
    }


def _models(found: Preparation) -> Iterator[str]:
    blocked = {item.entry.id: item for item in found.blocked}
    fetch = {item.entry.id: item for item in (found.plan.fetch if found.plan else ())}
    for refused in found.refused:
        yield _row("red", "refused", refused.entry.id, f"{refused.message} {refused.hint}")
    for item in found.findings:
        key = item.entry.id
        if key in blocked:
            yield _row("red", "missing", key, f"{blocked[key].message} {blocked[key].hint}")
        elif key in fetch:
            entry = fetch[key].entry
            size = in_words(entry.size) if entry.size is not None else "size unknown"
            known = "hash known" if entry.sha256 else "hash unknown"
            yield _row("yellow", "to fetch", key, f"{size}, {known}, from {entry.urls[0]}")
        else:
            size = in_words(item.size) if item.size is not None else "size unknown"
            yield _row("green", item.state.value, key, f"{size}{f', {item.why}' if item.why else ''}")


def _model(item: Finding) -> dict[str, Any]:
    size = item.size if item.size is not None else item.entry.size
    return {"model": item.entry.id, "state": item.state.value, "path": item.path, "size": size, "why": item.why}


def _memory(vram: VramFit) -> str:
    unknown = f", {len(vram.unknown)} of unknown size" if vram.unknown else ""
    known = f"model files of known size take {in_words(vram.known_bytes)}{unknown}"
    if vram.device is None:
        return f"{known}; no device is known"
    return f"{known}; {vram.device.name} has {in_words(vram.device.vram_total)}"


def _row(colour: str, state: str, name: str, words: str) -> str:
    return f"  [{colour}]{escape(state.ljust(9))}[/] {escape(name)}  [dim]{escape(' '.join(words.split()))}[/]"
