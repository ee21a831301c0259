"""Reading the documentation's pages: their links, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

_BLOCK = re.compile(r"(?:<!-- (?P<note>[^\n]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A code block. `note` is the comment right before it: not run, another terminal, exit code N."""

    kind: str
    text: str
    note: str = ""

    @property
    def is_skipped(self) -> bool:
        """Whether it is not to be run here, for the reason in its note."""
        return self.note.startswith("not run: ")

    @property
    def exit_code(self) -> int:
        """What the block's command is to end with."""
        return int(self.note.removeprefix("exit code ")) if self.note.startswith("exit code ") else 0


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(item["kind"], item["text"], item["note"] or "") for item in found]


def links(page: Path) -> Iterator[str]:
    """The targets of all links and pictures of a page."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    yield from _LINK.findall(text)


def anchors(page: Path) -> set[str]:
    """What a link to this page may name after `#`."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def table(page: Path, first: str) -> list[list[str]]:
    """The cells of the rows of the table whose first column has this title, marks of code left out."""
    rows: list[list[str]] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if cells and cells[0] == first:
            inside = True
        elif not cells:
            inside = False
        elif inside and not line.startswith("|-"):
            rows.append(cells)
    return rows
