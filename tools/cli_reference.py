"""Write the generated parts of docs/reference.md: commands and settings, from the program's own declarations.

    python tools/cli_reference.py            writes them
    python tools/cli_reference.py --check    says whether they are up to date

A generated part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; everything else is left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from comfyops.cli.app import build
from comfyops.config import Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
_WORDS = {bool: "", int: "whole number", float: "number", str: "text", Path: "path"}


def updated(page: str) -> str:
    """The page with its generated parts as they should be."""
    for name, text in (("commands", "\n".join(commands())), ("settings", "\n".join(settings()))):
        start, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{PAGE.name} has no part between {start} and {end}")
        page = f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"
    return page


def commands() -> Iterator[str]:
    """Every command with its arguments and options, in the order of the help."""
    root = build()
    yield from section("comfyops", root)
    for name in root.list_commands(None):
        command = root.get_command(None, name)
        if not getattr(command, "commands", None):
            yield from section(f"comfyops {name}", command)
        yield from nested(f"comfyops {name}", command)


def nested(name: str, command: Any) -> Iterator[str]:
    """The commands below a command, however deep."""
    for word, child in (getattr(command, "commands", None) or {}).items():
        if getattr(child, "commands", None):
            yield from nested(f"{name} {word}", child)
        else:
            yield from section(f"{name} {word}", child)


def section(name: str, command: Any) -> Iterator[str]:
    """One command."""
    parameters = [item for item in command.params if not getattr(item, "hidden", False)]
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *("COMMAND" for _ in [0] if hasattr(command, "commands"))])
    yield f"### `{name}`\n"
    yield f"{prose(command.help)}\n"
    yield f"```text\n{' '.join([usage, *map(placeholder, arguments)])}\n```\n"
    if parameters:
        yield "| argument or option | takes | default | meaning |"
        yield "|---|---|---|---|"
        yield from map(row, [*arguments, *(item for item in parameters if item not in arguments)])
        yield ""


def row(item: Any) -> str:
    """One argument or option as a row of the table."""
    name = placeholder(item) if item.param_type_name == "argument" else ", ".join(item.opts)
    more = "; may be repeated" if getattr(item, "multiple", False) else ""
    default = "required" if item.required else shown(item.default)
    meaning = cell(item.help or "").removesuffix(".") + more + "."
    return f"| `{name}` | {takes(item)} | {default} | {meaning} |"


def placeholder(item: Any) -> str:
    """An argument as the help writes it."""
    name = item.metavar or item.name.upper() + ("..." if item.nargs == -1 else "")
    return name if item.required else f"[{name}]"


def takes(item: Any) -> str:
    """What kind of value, and its limits."""
    annotation = getattr(item.type_descriptor, "annotation", str)
    kind = getattr(annotation, "__args__", (annotation,))[0]
    words = "" if getattr(item, "is_flag", False) else _WORDS.get(kind, "text")
    low, high = item.min, item.max
    limits = f", {low:g} to {high:g}" if None not in (low, high) else f", at least {low:g}" if low is not None else ""
    return words + limits


def shown(value: Any) -> str:
    """A default value; what is off or not set has none."""
    return "" if value in (None, False, "", ()) else f"`{value}`"


def prose(text: str | None) -> str:
    """A docstring as one paragraph per paragraph."""
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(" ".join(part.split()) for part in paragraphs)


def cell(text: str) -> str:
    """A text that fits into a table."""
    return text.replace("|", "\\|")


def settings() -> Iterator[str]:
    """The settings with the variables they are read from."""
    yield "| setting | environment variable | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in Settings.model_fields.items():
        choices: Iterable[Any] = getattr(field.validation_alias, "choices", (f"COMFYOPS_{name.upper()}",))
        variables = ", ".join(f"`{choice}`" for choice in choices)
        yield f"| `{name}` | {variables} | {shown(field.default)} | {cell(field.description or '')} |"


def main() -> int:
    """Write or check; 1 where the check finds the page out of date."""
    page = PAGE.read_text(encoding="utf-8")
    new = updated(page)
    if "--check" in sys.argv[1:]:
        return 0 if page == new else 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
