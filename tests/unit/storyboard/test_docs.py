"""docs/storyboard.md says what the file format says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from comfyops.storyboard import fields, yaml_file
from comfyops.storyboard.families import FAMILIES

PAGE = Path(__file__).parents[3] / "docs" / "storyboard.md"
SECTIONS = {(place or "The file"): model for place, model in fields.BY_PLACE.items()}


def section(title: str) -> str:
    found = re.search(
        rf"^### {re.escape(title)}\n(.*?)(?=^##)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/storyboard.md has no section {title}"
    return found[1]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_field_is_documented_in_the_words_of_the_format(title):
    model = SECTIONS[title]
    inherited = set(fields.SettingsFields.model_fields) if title in ("shots", "panels") else set()
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", section(title), re.MULTILINE))
    assert rows == {name: field.description for name, field in model.model_fields.items() if name not in inherited}
    if inherited:
        assert "[defaults](#defaults)" in section(title)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_family_is_documented_with_its_values(family):
    row = f"| {family.steps} steps, cfg {family.cfg:g}, {family.sampler}, {family.scheduler} |"
    assert any(line.startswith(f"| `{family.name}` |") and line.endswith(row) for line in PAGE.read_text().splitlines())


def test_the_example_is_a_storyboard():
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [placed.panel.id for placed in yaml_file.loads(example[1], Path()).panels()] == ["leaving"]
