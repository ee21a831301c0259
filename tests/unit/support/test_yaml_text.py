"""YAML that other people wrote: what it may not do to us."""

from __future__ import annotations

import pytest

from comfyops.errors import NotJsonError
from comfyops.support import yaml_text


def _bomb(levels: int) -> str:
    """Ten times as many values with each line."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    with pytest.raises(NotJsonError, match="too many values"):
        yaml_text.loads(_bomb(12), "x.yaml")
    assert len(yaml_text.loads(_bomb(3), "x.yaml")["a2"]) == 10


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: {c: *a}}"])
def test_a_value_that_holds_itself_is_refused(text: str) -> None:
    with pytest.raises(NotJsonError, match="too many values"):
        yaml_text.loads(text, "x.yaml")


@pytest.mark.parametrize(
    "text", ["!!timestamp foo", "!!bool foo", "!!int ''", "!!float x", "!!float ''", "!!map [a]", "!!set 5"]
)
def test_a_tag_that_does_not_fit_its_value_is_refused_in_words(text: str) -> None:
    with pytest.raises(NotJsonError, match=r"x\.yaml is not YAML"):
        yaml_text.loads(f"models: {text}", "x.yaml")


def test_what_is_nested_too_deeply_is_refused_in_words() -> None:
    with pytest.raises(NotJsonError, match="nested too deeply"):
        yaml_text.loads("[" * 3000 + "]" * 3000, "x.yaml")
