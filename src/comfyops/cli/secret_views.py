"""How plans and findings of secrets are shown: names of keys and fingerprints, never a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape

from comfyops.auth.secrets.checks import Finding
from comfyops.auth.secrets.model import Document
from comfyops.auth.secrets.plan import Change, Plan, TargetPlan

_SIGNS = {"add": "[green]+[/]", "change": "[yellow]~[/]", "remove": "[red]-[/]", "mode": "[yellow]m[/]"}
RESTART = "ComfyUI-Login reads PASSWORD only at its start: restart that ComfyUI"


def plan_data(document: Document, made: Plan) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "revision": document.revision,
        "drift": made.drift,
        "targets": [target_data(item) for item in made.targets],
    }


def target_data(item: TargetPlan) -> dict[str, Any]:
    """What is to be done to one target."""
    return {
        "path": item.target.path,
        "format": item.target.format,
        "mode": f"{item.target.mode:04o}",
        "problem": item.problem,
        "changes": item.changes,
    }


def plan_lines(targets: Sequence[TargetPlan]) -> Iterator[str]:
    """Targets with what is to be done to them; those in step have one line."""
    for item in targets:
        state = f"[red]{escape(item.problem)}[/]" if item.problem else "" if item.changes else "[dim]in step[/]"
        yield f"{escape(item.target.path)} [dim]({item.target.format})[/] {state}".rstrip()
        yield from (_change_line(change) for change in item.changes)


def _change_line(change: Change) -> str:
    marks = f"{change.before or 'none'} -> {change.after or 'none'}"
    return f"  {_SIGNS[change.action]} {escape(change.key or 'permissions')}  [dim]{marks}[/]"


def finding_lines(found: Sequence[Finding]) -> Iterator[str]:
    """Findings, one a line."""
    for item in found:
        color = "red" if item.severity == "error" else "yellow"
        yield f"[{color}]{item.severity}[/] [dim]({item.code})[/] {escape(item.subject)}: {escape(item.message)}"


def restart_notes(written: Sequence[TargetPlan]) -> list[str]:
    """What has to be done by hand after targets were written."""
    return [RESTART] if any(item.target.format == "comfyui-login-password" for item in written) else []
