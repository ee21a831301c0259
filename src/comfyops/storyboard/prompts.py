"""The words of a panel: what happens in it, who is in it, how it is seen, and the style that all panels share.

`{mara}` in a prompt stands for the description of the character `mara`; a character who is in the panel but not named
so is described after the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from comfyops.errors import StoryboardError
from comfyops.storyboard.project import Character, Placed, Project

_NAMED = re.compile(r"\{([A-Za-z0-9_-]+)\}")


def positive(project: Project, placed: Placed) -> str:
    """What the picture shows.

    Raises StoryboardError where a prompt names a character that the project does not have.
    """
    shot, panel = placed.shot, placed.panel
    own = [_with_characters(project, placed, text) for text in (panel.prompt, shot.prompt)]
    named = set(_NAMED.findall(panel.prompt + shot.prompt))
    others = [described(one) for one in project.characters_of(placed) if one.id not in named]
    return _joined((own[0], *others, own[1], shot.camera, shot.lighting, project.style.prompt))


def negative(project: Project, placed: Placed) -> str:
    """What the picture must not show."""
    of_characters = [one.negative for one in project.characters_of(placed)]
    return _joined((placed.panel.negative, placed.shot.negative, *of_characters, project.style.negative))


def described(character: Character) -> str:
    """A character's name and description."""
    return f"{character.name}, {character.prompt}" if character.name else character.prompt


def _with_characters(project: Project, placed: Placed, text: str) -> str:
    def word(found: re.Match[str]) -> str:
        name = found[1]
        if name not in project.characters:
            near = get_close_matches(name, project.characters, 1)
            hint = f"Did you mean {{{near[0]}}}?" if near else "Describe it under `characters`."
            raise StoryboardError(
                f"Panel {placed.panel.id} names the character {{{name}}}, which the project does not have.",
                hint=hint,
            )
        words = described(project.characters[name])
        goes_on = found.end() < len(text) and text[found.end()] not in ",.;:"
        return f"{words}," if goes_on else words

    return _NAMED.sub(word, text)


def _joined(parts: Iterable[str]) -> str:
    """The parts once each, separated by commas."""
    clean = (part.strip().rstrip(",;.").strip() for part in parts)
    return ", ".join(dict.fromkeys(part for part in clean if part))
