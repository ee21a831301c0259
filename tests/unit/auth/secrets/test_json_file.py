"""Members of a JSON file are set and removed; every other byte of it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.auth.secrets import json_file
from comfyops.auth.secrets.formats import FORMATS
from comfyops.errors import SecretsError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
LAYOUTS: list[dict[str, Any]] = [
    *({"indent": indent, "ensure_ascii": escaped} for indent in (None, 2, 4, "\t") for escaped in (True, False)),
    {"separators": (",", ":")},
]


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        (b'{\r\n "l": [1, 2],\r\n "t": {"k": "o"}\r\n}\r\n', "t.k", b'{\r\n "l": [1, 2],\r\n "t": {"k": "V"}\r\n}\r\n'),
        (b'{"n": 1e5, "b": 1E400, "e": "\\u00e9", "k":"o"}', "k", b'{"n": 1e5, "b": 1E400, "e": "\\u00e9", "k":"V"}'),
        (b'\xef\xbb\xbf{"k":"old"}', "k", b'\xef\xbb\xbf{"k":"V"}'),
        (b'{\n\t"a": 1\n}\n', "x.y", b'{\n\t"a": 1,\n\t"x": {\n\t\t"y": "V"\n\t}\n}\n'),
        (b'{"a":1}', "x.y", b'{"a":1,"x":{"y":"V"}}'),
        (b'{"a": 1, "b": {}}\n', "b.c", b'{"a": 1, "b": {"c": "V"}}\n'),
        (b'{\n  "b": {}\n}', "b.c", b'{\n  "b": {\n    "c": "V"\n  }\n}'),
        (b"", "a", b'{\n  "a": "V"\n}\n'),
        (b"  {}  ", "a", b'  {"a": "V"}  '),
        (b'{"k": 1, "k": 2}', "k", b'{"k": 1, "k": "V"}'),
        (b'{"k": {"a": 1}, "k": {"b": 2}}', "k.b", b'{"k": {"a": 1}, "k": {"b": "V"}}'),
    ],
)  # fmt: skip
def test_only_the_bytes_of_the_member_change(before: bytes, names: str, after: bytes) -> None:
    assert FORMATS["json"].write(before, {names: "V"}) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"k": "x", "a": 1}', b'{"a": 1}'),
        (b'{"a": 1, "k": "x"}', b'{"a": 1}'),
        (b'{\n  "a": 1,\n  "k": "x",\n  "b": 2\n}\n', b'{\n  "a": 1,\n  "b": 2\n}\n'),
        (b'{ "k": "x" }', b"{}"),
        (b'{"k": 1, "k": 2, "z": 3, "k": 4}', b'{"z": 3}'),
    ],
)
def test_a_member_is_removed_with_one_comma(before: bytes, after: bytes) -> None:
    assert json_file.with_value(before, ["k"], None) == after


@settings(deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.sampled_from(LAYOUTS), st.lists(TEXTS, min_size=1, max_size=3))
def test_whatever_the_file_holds_only_the_member_is_another(
    held: dict[str, Any], layout: dict[str, Any], names: list[str]
) -> None:
    place: Any = held
    for name in names[:-1]:
        place = place.get(name, {}) if isinstance(place, dict) else None
    data = json.dumps(held, **layout).encode()
    if not isinstance(place, dict):
        with pytest.raises(SecretsError, match="no object"):
            json_file.with_value(data, names, "V")
        return
    made = json_file.with_value(data, names, "V")
    place = held
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = "V"
    assert json.loads(made) == held and list(json.loads(made)) == list(held)
    del place[names[-1]]
    assert json.loads(json_file.with_value(made, names, None)) == held


@pytest.mark.parametrize(
    "data", [b"[1]", b'"x"', b"{", b'{"a": NaN}', b"{'a': 1}", b"\xff", b'{"a": 1} x', b"[" * 50_000]
)
def test_what_is_no_object_is_refused_whole(data: bytes) -> None:
    with pytest.raises(SecretsError):
        json_file.with_value(data, ["a"], "V")


def test_a_number_is_no_text_however_long() -> None:
    assert FORMATS["json"].read(b'{"a": ' + b"9" * 9000 + b', "b": 12.5}') == {"a": None, "b": None}


def test_broken_text_is_refused() -> None:
    with pytest.raises(SecretsError):
        json_file.with_value(b"{}", ["a"], "\ud800")
