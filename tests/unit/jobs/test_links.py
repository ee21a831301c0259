from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.jobs import links
from comfyops.jobs.links import Verdict

DIGEST = "ab" * 32
SECRET = b"s" * 32


def query(link, secret=SECRET):
    return dict(parse_qsl(link.query(secret), keep_blank_values=True))


def test_a_link_is_good_until_it_expires():
    link = links.make(DIGEST, "boat.png", "image/png", now=1000.0, seconds=60)
    assert links.check(DIGEST, query(link), SECRET, 1059.0) == (Verdict.GOOD, link)
    assert links.check(DIGEST, query(link), SECRET, 1060.0) == (Verdict.EXPIRED, link)


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "999999"},
        {"name": "evil.html"},
        {"type": "text/html"},
        {"signature": "x"},
        {"signature": "ü"},
        {"signature": ""},
        {"expires": "-1"},
        {"expires": "1e9"},
        {"expires": ""},
    ],
)
def test_a_link_that_was_changed_is_wrong(change):
    link = links.make(DIGEST, "boat.png", "image/png", now=1000.0, seconds=60)
    assert links.check(DIGEST, {**query(link), **change}, SECRET, 1001.0) == (Verdict.WRONG, None)


def test_a_link_opens_no_other_file_and_needs_the_secret_it_was_made_with():
    link = links.make(DIGEST, "boat.png", "image/png", now=1000.0, seconds=60)
    assert links.check("cd" * 32, query(link), SECRET, 1001.0)[0] is Verdict.WRONG
    assert links.check("../x", query(link), SECRET, 1001.0)[0] is Verdict.WRONG
    assert links.check(DIGEST, query(link), b"other" * 8, 1001.0)[0] is Verdict.WRONG
    assert links.check(DIGEST, {}, SECRET, 1001.0)[0] is Verdict.WRONG


def test_no_link_is_good_for_longer_than_a_week():
    assert links.make(DIGEST, "", "", now=0.0, seconds=1e12).expires == links.LONGEST


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_name_and_type_cannot_be_shifted_into_one_another(name, mime, other_name, other_mime):
    one = links.Link(DIGEST, name, mime, 5)
    other = links.Link(DIGEST, other_name, other_mime, 5)
    if one != other:
        assert query(one)["signature"] != query(other)["signature"]
