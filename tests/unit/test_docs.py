"""What the documentation says is so: its links, tables and lists against the program."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from tools import cli_reference

from comfyops.simulator import Faults
from comfyops.workflows import api_format
from comfyops.workflows.validate import validate
from tests.conformance.test_validation_verdicts import recorded_types, rows
from tests.unit.doc_pages import DOCS, PAGES, ROOT, anchors, blocks, links, table

REFERENCE = DOCS / "reference.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Words of the server that `explain` turns into others before a person sees them.
INTERNAL = {
    "exception_during_inner_validation",
    "exception_during_validation",
    "invalid_prompt",
    "missing_node_type",
    "prompt_outputs_failed_validation",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_folders_of_one_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|opt|tmp|home|root)/", page.read_text())


def test_the_picture_of_the_result_is_small() -> None:
    assert (DOCS / "images" / "contact-sheet.png").stat().st_size < 250_000


def test_the_reference_lists_every_command_option_and_setting() -> None:
    page = REFERENCE.read_text()
    assert page == cli_reference.updated(page), "write it anew with: python tools/cli_reference.py"
    assert page.count("\n### `comfyops ") >= 14 and "| `--set` |" in page and "`COMFYUI_URL`" in page


def test_the_reference_lists_every_code_of_problems() -> None:
    documented = {cells[0] for cells in table(REFERENCE, "code") if len(cells) == 3}
    assert documented == codes_in_source()


@pytest.mark.parametrize("version", ["0.33.0", "0.8.0"])
def test_every_recorded_verdict_has_documented_codes_and_severities(version: str) -> None:
    documented = {cells[0]: set(cells[1].split(", ")) for cells in table(REFERENCE, "code") if len(cells) == 3}
    types = recorded_types(version)
    seen = {
        (item.code, item.severity.value)
        for row in rows(version)
        for item in validate(api_format.parse(row["graph"]), types)
    }
    assert len(seen) > 10
    assert all(severity in documented[code] for code, severity in seen)


def codes_in_source() -> set[str]:
    """The codes that `workflows` gives to problems: third argument of Problem and of _error, first of Fault."""
    places = {"Problem": 2, "_error": 2, "Fault": 0}
    found: set[str] = set()
    for file in (ROOT / "src" / "comfyops" / "workflows").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in places:
                found |= _texts(call.args[places[call.func.id]], file)
    return found - INTERNAL


def _texts(argument: ast.expr, file: Path) -> set[str]:
    """The texts that an argument may stand for: itself, or what is assigned to its name in the same file."""
    if isinstance(argument, ast.Constant):
        return {argument.value}
    if isinstance(argument, ast.Name) and argument.id != "code":
        first = rf"\b{argument.id}, words = \"(\w+)\""
        return set(re.findall(first, file.read_text()))
    return set()


def test_the_json_example_is_what_the_command_prints(tmp_path: Path) -> None:
    (example,) = [block.text for block in blocks(REFERENCE) if block.kind == "json"]
    start = "from comfyops.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "workflow", "show", "missing.json", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout) == json.loads(example)


def test_every_fault_of_the_simulator_is_described() -> None:
    described = {cells[0].partition("=")[0].replace("-", "_") for cells in table(DOCS / "simulator.md", "fault")}
    assert described == {item.name for item in fields(Faults)}


def test_the_architecture_page_has_the_layers_that_are_enforced() -> None:
    contract = next(item for item in PROJECT["tool"]["importlinter"]["contracts"] if item["type"] == "layers")
    drawn = next(block.text for block in blocks(DOCS / "architecture.md") if block.text.startswith("cli\n"))
    assert drawn.split("\n")[:-1] == contract["layers"]


def test_the_architecture_page_lists_the_folders_that_are_there() -> None:
    package = ROOT / "src" / "comfyops"
    files = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert {cells[0] for cells in table(DOCS / "architecture.md", "folder or file")} == files | folders


def requirement_ids() -> set[str]:
    counts = {"M": 19, "W": 14, "A": 7, "D": 7, "O": 5, "Q": 5}
    return {f"{letter}{number:02}" for letter, count in counts.items() for number in range(1, count + 1)}


def test_no_requirement_is_missing_and_each_that_is_done_names_its_tests() -> None:
    found = table(DOCS / "requirements.md", "id")
    assert {cells[0] for cells in found} == requirement_ids() and len(found) == len(requirement_ids())
    for cells in found:
        state, how, named = cells[3], cells[4], re.findall(r"[\w/.]+\.py", " ".join(cells[5:]))
        assert state in ("done", "partly", "planned"), cells[0]
        assert bool(named) == bool(how) == (state != "planned"), cells[0]
        assert all((ROOT / path).is_file() for path in named), cells[0]


def test_every_decision_is_listed_and_says_what_it_costs() -> None:
    records = sorted(path for path in (DOCS / "decisions").glob("0*.md"))
    assert [path.name for path in records] == re.findall(
        r"\((0\d+-[\w-]+\.md)\)", (DOCS / "decisions/README.md").read_text()
    )
    for number, path in enumerate(records, 1):
        text = path.read_text()
        assert text.startswith(f"# {number}. ")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), path.name


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    first = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first and first[1] == PROJECT["project"]["version"]


def test_every_make_target_that_the_pages_name_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)(?:\w+=\S+ )?make (\w+)", page.read_text(), re.M)}
    assert named >= {"demo", "test"} and named <= targets
