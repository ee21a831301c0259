"""The error tree: stable codes, one place for each, and the page that lists them."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from comfyops import errors
from comfyops.errors import ComfyOpsError, InputError, RejectedError, UiFormatError, all_errors
from tests.unit.doc_pages import DOCS, ROOT, table

SOURCE = ROOT / "src" / "comfyops"
# StoryCore keeps the names of its documents, with the behaviour of the tree; docs/storycore.md lists them.
TREE = tuple(kind for kind in all_errors() if kind.__module__ == errors.__name__)
BASES = {"ComfyOpsError", "InputError", "BackendError", "ModelError"}
"""Classes that exist to be caught; raised only where nothing says more."""


def names_in(path: str) -> set[str]:
    """The names that a file's code uses, imports left out."""
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    return {item.id for item in ast.walk(tree) if isinstance(item, ast.Name)}


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_has_a_name_a_code_and_a_sentence(kind: type[ComfyOpsError]) -> None:
    assert kind.__name__.endswith("Error") and kind.__module__ == "comfyops.errors"
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", vars(kind)["code"]), "a class must have a code of its own"
    assert kind.__doc__ and kind.__doc__.splitlines()[0].endswith((".", ":", "."))
    assert kind.hint == "" or kind.hint.endswith(".")


def test_no_two_errors_have_the_same_code() -> None:
    assert [code for code, count in Counter(kind.code for kind in TREE).items() if count > 1] == []


def test_every_error_is_used_outside_of_the_tree() -> None:
    files = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "errors.py"]
    used = set().union(*map(names_in, files))
    assert {kind.__name__ for kind in TREE} - used - BASES == set()


def test_nothing_gives_an_error_another_code() -> None:
    """A code belongs to a class; an assignment `error.code = ...` would be in no list."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = [target for item in ast.walk(tree) if isinstance(item, ast.Assign) for target in item.targets]
        codes = [item for item in targets if isinstance(item, ast.Attribute) and item.attr == "code"]
        assert all(isinstance(item.value, ast.Name) and item.value.id == "self" for item in codes), path


def test_no_error_is_made_once_and_raised_again() -> None:
    """Each time it is raised it would keep the frames that it went through, with all that they hold, for ever."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        made = [item for item in tree.body if isinstance(item, ast.Assign) and _makes_error(item.value)]
        kept = {target.id for item in made for target in item.targets if isinstance(target, ast.Name)}
        raised = [item.exc for item in ast.walk(tree) if isinstance(item, ast.Raise)]
        assert not kept & {item.id for item in raised if isinstance(item, ast.Name)}, path


def _makes_error(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id.endswith("Error")


def test_the_drawing_shows_the_tree() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if re.search(r"(├─|└─|^ {4}ComfyOpsError)", line)]
    drawn = [re.search(r"\w+Error", line)[0] for line in lines]  # type: ignore[index]
    assert drawn == [kind.__name__ for kind in TREE]


def test_the_page_lists_every_code_with_what_to_do() -> None:
    rows = table(DOCS / "errors.md", "code")
    assert [row[0] for row in rows] == [kind.code for kind in TREE]
    assert all(len(row) == 3 and row[1] and row[2] for row in rows)


def test_an_error_carries_message_hint_and_facts() -> None:
    error = RejectedError("No.", hint="Do it.", status=400)
    assert (str(error), error.message, error.hint, error.facts) == ("No.", "No.", "Do it.", {"status": 400})
    assert UiFormatError("x").hint == UiFormatError.hint != ""
    assert issubclass(UiFormatError, InputError)
