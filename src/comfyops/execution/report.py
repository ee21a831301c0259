"""The HTML report: every panel with its picture, prompts, seed, models and times, in one file that needs no other."""

from __future__ import annotations

import base64
import time
from html import escape
from importlib import resources
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from comfyops import __version__
from comfyops.execution.records import PanelState
from comfyops.execution.results import PanelResult, RenderReport
from comfyops.support.files import write_text

_THUMBNAIL = 960  # pixels, longer side


def _style() -> str:
    return resources.files("comfyops.execution").joinpath("data", "report.css").read_text(encoding="utf-8")


def write_report(path: Path, report: RenderReport) -> None:
    """Write the report. Raises StorageError."""
    write_text(path, html(report))


def html(report: RenderReport) -> str:
    """The report as HTML; everything that people or servers wrote is escaped."""
    title = escape(report.project.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_style()}</style></head><body><main>{_header(report)}{_sequences(report)}{_footer(report)}"
        "</main></body></html>\n"
    )


def _header(report: RenderReport) -> str:
    simulated = any(item.record and item.record.simulated for item in report.panels)
    badge = ' <span class="badge">SIMULATED</span>' if simulated else ""
    counts = ", ".join(f"{report.count(state)} {state}" for state in PanelState if report.count(state))
    style = f'<p class="quiet">Style: {escape(report.project.style.prompt)}</p>' if report.project.style.prompt else ""
    return (
        f"<h1>{escape(report.project.title)}{badge}</h1>"
        f'<p class="quiet">{len(report.panels)} panels: {counts} in {report.seconds:.1f} s'
        f" · project seed {report.project.seed} · {escape(report.backend)}"
        f" (ComfyUI {escape(report.backend_version or 'of unknown version')})</p>{style}"
    )


def _sequences(report: RenderReport) -> str:
    parts = []
    for sequence in report.project.sequences:
        mine = [item for item in report.panels if item.placed.sequence.id == sequence.id]
        cards = "".join(_card(item) for item in mine)
        parts.append(f'<h2>{escape(sequence.title or sequence.id)}</h2><div class="grid">{cards}</div>')
    return "".join(parts)


def _card(item: PanelResult) -> str:
    panel = item.placed.panel
    caption = escape(panel.caption or item.placed.shot.title or panel.id)
    state = f'<span class="badge bad">{item.state}</span>' if item.picture is None else ""
    return (
        f'<article id="{escape(panel.id)}">{_image(item)}<div class="body">'
        f"<h3>{item.placed.number}. {caption} {state}</h3>{_words(item)}{_facts(item)}</div></article>"
    )


def _image(item: PanelResult) -> str:
    if item.picture is None:
        message = escape(item.error.message if item.error else "")
        hint = f'<p class="quiet">{escape(item.error.hint)}</p>' if item.error and item.error.hint else ""
        return f'<div class="none"><p>{message}</p>{hint}</div>'
    data, width, height = _thumbnail(item.picture)
    alt = escape(item.record.positive if item.record else item.placed.panel.prompt, quote=True)
    return (
        f'<a href="panels/{quote(item.picture.name)}"><img alt="{alt}" width="{width}" height="{height}" '
        f'src="data:image/jpeg;base64,{data}"></a>'
    )


def _thumbnail(picture: Path) -> tuple[str, int, int]:
    with Image.open(picture) as image:
        small = image.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii"), small.width, small.height


def _words(item: PanelResult) -> str:
    if item.plan is None:
        return f"<p>{escape(item.placed.panel.prompt)}</p>"
    picture = item.plan.picture
    negative = f'<p class="quiet">Not: {escape(picture.negative)}</p>' if picture.negative else ""
    return f"<p>{escape(picture.positive)}</p>{negative}"


def _facts(item: PanelResult) -> str:
    if item.plan is None:
        return ""
    plan, picture, record = item.plan, item.plan.picture, item.record
    rows = [
        ("Panel", plan.id),
        ("State", str(item.state)),
        ("Seed", f"{picture.seed} ({plan.seed_source})"),
        ("Family", plan.family.title),
        ("Models", ", ".join(plan.models)),
        (
            "Size",
            f"{record.width if record else picture.size.width} x {record.height if record else picture.size.height}",
        ),
        ("Sampling", f"{picture.steps} steps, cfg {picture.cfg:g}, {picture.sampler}, {picture.scheduler}"),
    ]
    if record:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.finished_at))
        cached = ", answered from the server's cache" if record.cached else ""
        rows += [("Time", f"{record.seconds:.2f} s, {when}{cached}"), ("SHA-256", record.sha256)]
    rows += [("Note", note) for note in plan.notes]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"


def _footer(report: RenderReport) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.started_at))
    return (
        f"<footer>Rendered by ComfyOps {escape(__version__)}, {when}. "
        "The record of each picture lies beside it, and inside it where it is a PNG.</footer>"
    )
