"""Plans and outcomes of downloads as lines for people and data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape

from comfyops.cli.output import count, in_words
from comfyops.models import manual as by_hand
from comfyops.models.plan import Plan
from comfyops.models.provision import Outcome


def summary(made: Plan) -> str:
    """How many files and bytes are to be fetched."""
    if not made.fetch:
        return "nothing to fetch"
    unknown = f" and {count(made.unknown, 'file')} of unknown size" if made.unknown else ""
    return f"{count(len(made.fetch), 'file')} to fetch, {in_words(made.total)}{unknown}"


def plan_lines(made: Plan) -> Iterator[str]:
    """What is to be fetched, from where to where."""
    for item in made.fetch:
        size = in_words(item.entry.size) if item.entry.size is not None else "?"
        yield f"[yellow]{item.state.value:10}[/] {size:>9}  {escape(item.entry.id)} -> {escape(item.target)}"
        yield f"[dim]{'':21} from {escape((item.entry.urls or ('nowhere known',))[0])}[/]"


def blocked_lines(made: Plan) -> Iterator[str]:
    """What cannot be had, and what to do."""
    for item in made.blocked:
        yield f"[red]{escape(item.code):10}[/] {'':>9}  {escape(item.entry.id)}: {escape(item.message)}"
        if item.hint:
            yield f"[dim]{'':21} {escape(item.hint)}[/]"


def outcome_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What became of each file."""
    for item in outcomes:
        if item.ok:
            first = "  [dim]nobody had promised its hash[/]" if item.trust_on_first_use else ""
            yield f"[green]{item.how:10}[/] {in_words(item.downloaded_bytes):>9}  {escape(item.entry.id)}{first}"
            continue
        yield f"[red]{escape(item.code):10}[/] {'':>9}  {escape(item.entry.id)}: {escape(item.message)}"
        if item.hint:
            yield f"[dim]{'':21} {escape(item.hint)}[/]"


def step_lines(steps: Sequence[by_hand.Step]) -> Iterator[str]:
    """What a person has to do."""
    for step in steps:
        size = in_words(step.entry.size) if step.entry.size is not None else "size unknown"
        yield f"[bold]{escape(step.entry.id)}[/] ({size})"
        yield from (f"  fetch    {escape(url)}" for url in step.urls[:3])
        if step.page:
            yield f"  page     {escape(step.page)}"
        yield f"  save as  {escape(step.path)}"


def plan_data(made: Plan) -> dict[str, object]:
    """A plan for programs."""
    return {
        "bytes": made.total,
        "unknown_sizes": made.unknown,
        "fetch": [
            {
                "model": item.entry.id,
                "state": item.state.value,
                "target": item.target,
                "size": item.entry.size,
                "sha256": item.entry.sha256,
                "urls": item.entry.urls,
                "licence": item.entry.licence,
                "gated": item.entry.gated,
            }
            for item in made.fetch
        ],
        "good": [item.entry.id for item in made.good],
        "optional": [item.entry.id for item in made.optional],
        "blocked": [
            {"model": item.entry.id, "required": item.required, **_reason(item.code, item.message, item.hint)}
            for item in made.blocked
        ],
    }


def outcome_data(item: Outcome) -> dict[str, object]:
    """An outcome for programs."""
    error = None if item.ok else _reason(item.code, item.message, item.hint)
    return {
        "model": item.entry.id,
        "ok": item.ok,
        "how": item.how,
        "path": item.path,
        "sha256": item.sha256,
        "downloaded_bytes": item.downloaded_bytes,
        "seconds": round(item.seconds, 3),
        "trust_on_first_use": item.trust_on_first_use,
        "error": error,
    }


def _reason(code: str, message: str, hint: str) -> dict[str, str]:
    return {"code": code, "message": message, "hint": hint}
