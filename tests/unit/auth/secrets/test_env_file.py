"""`.env` files: what is set comes back by Compose's rules, and every other byte stays."""

from __future__ import annotations

import io
import json

import dotenv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.auth.secrets import env_file, env_values
from comfyops.errors import SecretsError
from tests.unit.auth.secrets.values import HASH
from tests.unit.doc_pages import ROOT

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NASTY = st.text(st.sampled_from(list("$'\"\\#= \t\n\r{}:-abAB_é\u2028")), max_size=12)
VALUES = st.one_of(TEXT, NASTY)
BEFORE = (
    "\ufeff# secrets\r\n"
    "\r\n"
    "export A = 1 # one\r\n"
    "B='x # y'  # two\r\n"
    'C="first\nsecond" \r\n'
    "not a line of ours\r\n"
    "  D=\r\n"
    "# KEY=old"
)


@settings(deadline=None)
@given(VALUES)
def test_a_value_that_is_set_comes_back(value: str) -> None:
    made = env_file.loads(BEFORE.encode()).with_value("KEY", value)
    assert env_file.loads(made.dumps()).effective()["KEY"] == value
    assert made.dumps().startswith(BEFORE.encode())


@settings(deadline=None)
@given(VALUES)
def test_a_value_that_is_replaced_comes_back_and_its_comment_stays(value: str) -> None:
    held = b"# top\nexport KEY = old # keep me\nOTHER=$KEY\n"
    made = env_file.loads(held).with_value("KEY", value).dumps()
    assert env_file.loads(made).effective()["KEY"] == value
    assert made.startswith(b"# top\nexport KEY = ") and made.endswith(b" # keep me\nOTHER=$KEY\n")


@settings(deadline=None)
@given(VALUES)
def test_python_dotenv_reads_the_same_where_the_page_says_so(value: str) -> None:
    text = env_file.loads(b"A=1\n").with_value("KEY", value).dumps().decode()
    if "${" in value or (env_values.quoted(value).startswith('"') and "$" in value):
        return
    read = dotenv.dotenv_values(stream=io.StringIO(text, newline=""), interpolate=True)
    assert read == {"A": "1", "KEY": value}


@settings(deadline=None)
@given(st.one_of(st.binary(), NASTY.map(str.encode), st.lists(NASTY).map(lambda x: "\nK=".join(x).encode())))
def test_any_file_that_is_read_is_written_byte_for_byte(data: bytes) -> None:
    try:
        made = env_file.loads(data)
    except SecretsError:
        return
    assert made.dumps() == data


@settings(deadline=None)
@given(NASTY, VALUES)
def test_setting_a_key_changes_no_other_one(other: str, value: str) -> None:
    held = env_file.loads(b"KEY=old\n").with_value("OTHER", other).with_value("LAST", "end")
    made = env_file.loads(held.with_value("KEY", value).dumps()).effective()
    assert (made["OTHER"], made["LAST"]) == (other, "end")


def test_the_lines_are_understood_as_compose_does() -> None:
    found = env_file.loads(BEFORE.encode()).effective()
    assert found == {"A": "1", "B": "x # y", "C": "first\nsecond", "D": ""}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"'{HASH}'", HASH),
        (f'"{HASH}"', None),
        (HASH, None),
        ("a$$b", "a$b"),
        ('"a\\$b"', "a$b"),
        ("${A}-$A", "1-1"),
        ("${NONE:-x}${EMPTY-y}${EMPTY:-z}", "xz"),
        ("${NONE:-${A}}", None),
        ("${NONE:?no}", None),
        ("'$A'", "$A"),
        ("'it\\'s'", "it's"),
        ('"q\\"\\n\\\\"', 'q"\n\\'),
        ("a#b # c", "a#b"),
        ("", ""),
        ("# only words", "# only words"),
        ("'a' # b", "a"),
    ],
)
def test_a_written_value_means_what_compose_makes_of_it(written: str, read: str | None) -> None:
    assert env_file.loads(f"A=1\nEMPTY=\nKEY= {written}\n".encode()).effective()["KEY"] == read


def test_a_colon_is_a_sign_of_equality_for_compose() -> None:
    held = env_file.loads(b"KEY=a\nKEY: 'b' # c\nexport OTHER : x\n")
    assert held.effective() == {"KEY": "b", "OTHER": "x"}
    assert held.with_value("KEY", "v").dumps() == b"KEY=v\nKEY: v # c\nexport OTHER : x\n"


def test_what_was_meant_by_a_hash_without_quotes_is_known() -> None:
    assert env_file.loads(f"KEY={HASH}\n".encode()).literal() == {"KEY": HASH}


def test_every_line_of_a_key_is_changed_and_removed() -> None:
    held = env_file.loads(b"KEY=a\nX=1\nKEY=b\n")
    assert held.with_value("KEY", "c").dumps() == b"KEY=c\nX=1\nKEY=c\n"
    assert held.with_value("KEY", None).dumps() == b"X=1\n"


@pytest.mark.parametrize(("held", "made"), [(b"A=1", b"A=1\nK=v\n"), (b"A=1\r\n", b"A=1\r\nK=v\r\n"), (b"", b"K=v\n")])
def test_a_key_is_added_with_the_line_ends_of_the_file(held: bytes, made: bytes) -> None:
    assert env_file.loads(held).with_value("K", "v").dumps() == made


def test_an_open_quote_is_refused_by_line_and_without_its_text() -> None:
    with pytest.raises(SecretsError, match="line 2") as caught:
        env_file.loads(b"A=1\nB='canary-value\nC=2\n")
    assert "canary" not in caught.value.message


def test_what_stands_behind_a_quote_is_kept_and_makes_the_value_unclear() -> None:
    held = env_file.loads(b"A='x'y\nB=1\nC=$A\n")
    assert held.effective() == {"A": None, "B": "1", "C": None} and held.dumps() == b"A='x'y\nB=1\nC=$A\n"
    assert held.literal() == {"B": "1", "C": "$A"}


def test_an_unclear_line_of_a_key_is_replaced_too() -> None:
    held = env_file.loads(b"KEY=a\r\nKEY='x' y\r\nB=1\r\n")
    assert held.with_value("KEY", "new").dumps() == b"KEY=new\r\nKEY=new\r\nB=1\r\n"
    assert held.with_value("KEY", None).dumps() == b"B=1\r\n"


@pytest.mark.parametrize("key", ["OTHER", "\u00e9t\u00e9", "9LIVES", "LIST[0]", "a.b-c"])
def test_a_line_within_somebody_elses_quotes_is_no_line(key: str) -> None:
    before = f'{key}: "first\nKEY=old\n{{" rest\n'.encode()
    held = env_file.loads(before)
    assert held.effective() == {key: None}
    assert held.with_value("KEY", "it's").dumps() == before + b'KEY="it\'s"\n'


@pytest.mark.parametrize("held", [b"A=1\rKEY=old\rB=2\r", b"KEY=old\r", b"# one\rtwo\n", b"A='x' y\rKEY=old\n"])
def test_a_carriage_return_alone_is_refused_since_readers_differ(held: bytes) -> None:
    with pytest.raises(SecretsError, match="line 1 of") as caught:
        env_file.loads(held)
    assert "old" not in caught.value.message
    assert env_file.loads(b"A='1\r2'\r\n").effective() == {"A": "1\r2"}


def test_spaces_of_any_kind_before_a_value_are_no_part_of_it() -> None:
    assert env_file.loads("KEY=\u00a0\tx\n".encode()).effective() == {"KEY": "x"}


def test_bytes_that_are_no_utf8_stay() -> None:
    held = b"# caf\xe9\nA=\xff\n"
    assert env_file.loads(held).with_value("B", "1").dumps() == held + b"B=1\n"


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_values_that_no_environment_holds_are_refused(value: str) -> None:
    with pytest.raises(SecretsError):
        env_values.quoted(value)


def test_a_long_line_is_read_in_no_time() -> None:
    data = b"K=" + b" " * 300_000 + b"x" + b" " * 300_000 + b"#" * 300_000
    assert env_file.loads(data).dumps() == data


def test_a_file_of_many_lines_is_read_in_no_time() -> None:
    """Each line is read once: with the square of their number this would take minutes."""
    data = "".join(f"KEY_{number}=a\n" for number in range(100_000)).encode()
    assert len(env_file.loads(data).effective()) == 100_000


def test_the_parser_of_compose_has_read_the_same() -> None:
    """Lines that its own parser was given, with what it read; the values of `set` were written by us."""
    recorded = json.loads((ROOT / "tests/data/compose-env-values.json").read_text())
    assert len(recorded["set"]) > 100 and len(recorded["lines"]) > 60
    for value, written in recorded["set"]:
        assert env_values.quoted(value) == written
    for written, read in recorded["lines"]:
        assert env_file.loads(f"A=1\nKEY={written}\nZ=end\n".encode()).effective() == {
            "A": "1",
            "KEY": read,
            "Z": "end",
        }
