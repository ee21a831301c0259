"""The contact sheet: all pictures of a storyboard on one page, with captions, as a PNG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from comfyops.execution.results import PanelResult, RenderReport
from comfyops.support.files import write_bytes

_BACKGROUND, _CARD, _PLACEHOLDER = "#14171c", "#1e232b", "#3a2426"
_BRIGHT, _TEXT, _QUIET, _AMBER, _RED = "#f4f1ea", "#d7d9dd", "#8d95a3", "#e0a63b", "#ef8b80"
_MARGIN, _GAP, _PADDING = 48, 28, 18
_HEADER, _CAPTION = 128, 96
_FONT_SIZES = {"title": 44, "text": 22, "small": 17}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the cards go; sizes in pixels."""

    columns: int
    rows: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return (
            2 * _MARGIN + self.columns * self.width + (self.columns - 1) * _GAP,
            2 * _MARGIN + _HEADER + self.rows * (self.height + _CAPTION) + (self.rows - 1) * _GAP,
        )

    def places(self) -> Iterator[tuple[int, int]]:
        for row in range(self.rows):
            for column in range(self.columns):
                y = _MARGIN + _HEADER + row * (self.height + _CAPTION + _GAP)
                yield _MARGIN + column * (self.width + _GAP), y


def write_contact_sheet(path: Path, report: RenderReport) -> None:
    """Draw and write the sheet; a panel without a picture shows why. Raises StorageError."""
    layout = _layout(report)
    sheet = Image.new("RGB", layout.size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    fonts = {name: ImageFont.load_default(size) for name, size in _FONT_SIZES.items()}
    _header(draw, fonts, report, layout)
    for panel, (x, y) in zip(report.panels, layout.places(), strict=False):
        draw.rounded_rectangle((x, y, x + layout.width, y + layout.height + _CAPTION), 10, _CARD)
        _picture(sheet, draw, fonts, panel, (x, y, layout.width, layout.height))
        _caption(draw, fonts, panel, (x + _PADDING, y + layout.height + 16), layout.width - 2 * _PADDING)
    buffer = BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def _layout(report: RenderReport) -> _Layout:
    """Two columns for a few panels, up to five for many; cards in the ratio of the first picture."""
    count = len(report.panels)
    columns = 1 if count == 1 else 2 if count <= 4 else 3 if count <= 12 else 4 if count <= 40 else 5
    width = {1: 960, 2: 720, 3: 560, 4: 460, 5: 400}[columns]
    planned = next((item.plan.picture.size for item in report.panels if item.plan), None)
    ratio = planned.height / planned.width if planned else 9 / 16
    return _Layout(columns, -(-count // columns), width, round(width * min(max(ratio, 0.4), 1.5)))


def _header(draw: ImageDraw.ImageDraw, fonts: dict[str, Font], report: RenderReport, layout: _Layout) -> None:
    width = layout.size[0] - 2 * _MARGIN
    badge = "SIMULATED" if any(item.record and item.record.simulated for item in report.panels) else ""
    room = width - (170 if badge else 0)
    draw.text(
        (_MARGIN, _MARGIN - 6), _fitted(draw, report.project.title, fonts["title"], room), _BRIGHT, fonts["title"]
    )
    done = sum(item.picture is not None for item in report.panels)
    facts = (f"project seed {report.project.seed}", f"{report.seconds:.1f} s", report.backend)
    line = " · ".join((f"{done} of {len(report.panels)} panels", *facts))
    draw.text((_MARGIN, _MARGIN + 58), _fitted(draw, line, fonts["small"], width), _QUIET, fonts["small"])
    if badge:
        right = _MARGIN + width
        draw.rounded_rectangle((right - 150, _MARGIN, right, _MARGIN + 36), 8, outline=_AMBER, width=2)
        draw.text((right - 75, _MARGIN + 18), badge, _AMBER, fonts["small"], anchor="mm")


def _picture(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    fonts: dict[str, Font],
    panel: PanelResult,
    box: tuple[int, int, int, int],
) -> None:
    x, y, width, height = box
    if panel.picture is None:
        draw.rectangle((x, y, x + width, y + height), _PLACEHOLDER)
        lines = _wrapped(draw, panel.error.message if panel.error else "", fonts["small"], width - 2 * _PADDING, 5)
        draw.text((x + _PADDING, y + _PADDING), panel.state.upper(), _RED, fonts["text"])
        draw.multiline_text((x + _PADDING, y + _PADDING + 38), "\n".join(lines), _TEXT, fonts["small"], spacing=6)
        return
    with Image.open(panel.picture) as image:
        fitted = ImageOps.contain(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (x + (width - fitted.width) // 2, y + (height - fitted.height) // 2))


def _caption(
    draw: ImageDraw.ImageDraw, fonts: dict[str, Font], panel: PanelResult, at: tuple[int, int], room: int
) -> None:
    x, y = at
    text = panel.placed.panel.caption or panel.placed.shot.title or panel.placed.panel.id
    draw.text((x, y), _fitted(draw, f"{panel.placed.number}. {text}", fonts["text"], room), _BRIGHT, fonts["text"])
    draw.text((x, y + 36), _fitted(draw, _facts(panel), fonts["small"], room), _QUIET, fonts["small"])


def _facts(panel: PanelResult) -> str:
    if panel.record is None:
        return panel.placed.panel.id
    record = panel.record
    return f"{record.panel} · seed {record.seed} · {record.family} · {record.width} x {record.height}"


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Font, room: int) -> str:
    """The text on one line, shortened where it does not fit."""
    text = " ".join(text.split())
    while text and draw.textlength(text, font) > room:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    return text


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: Font, room: int, most: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= room:
            lines[-1] = longer
        else:
            lines.append(_fitted(draw, word, font, room))
    return lines[:most]
