from __future__ import annotations

import pytest

from comfyops.errors import StoryboardError
from comfyops.storyboard import prompts
from tests.unit.storyboard.boards import board

CAST = """
style: {prompt: "ink drawing.", negative: text}
characters:
  mara: {name: Mara, prompt: red scarf, negative: hat}
  fox: {prompt: a copper fox}
"""


def words(panels, extra=CAST):
    project = board(panels, extra=extra)
    placed = next(project.panels())
    return prompts.positive(project, placed), prompts.negative(project, placed)


def test_the_panel_comes_first_and_the_style_last():
    assert words("- {prompt: a storm, negative: blurry}") == ("a storm, ink drawing", "blurry, text")


def test_a_character_who_is_there_is_described_after_the_prompt():
    positive, negative = words("- {prompt: a storm, characters: [mara, fox]}")
    assert positive == "a storm, Mara, red scarf, a copper fox, ink drawing"
    assert negative == "hat, text"


def test_a_named_character_is_described_where_the_name_stands_and_only_there():
    positive, _ = words('- {prompt: "{mara} climbs, {fox}", characters: [mara, fox]}')
    assert positive == "Mara, red scarf, climbs, a copper fox, ink drawing"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(StoryboardError, match=r"character \{mira\}") as caught:
        words('- prompt: "{mira} climbs"')
    assert caught.value.hint == "Did you mean {mara}?"


def test_other_braces_are_left_alone():
    assert words('- prompt: "a {red|blue} house {"')[0] == "a {red|blue} house {, ink drawing"


def test_the_same_words_are_not_said_twice():
    assert words("- {negative: text}")[1] == "text"
