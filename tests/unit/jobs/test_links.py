import asyncio
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.jobs import links
from comfyops.jobs.links import LinkKeys, Verdict
from comfyops.jobs.store import Store

ASSET = "0b0e7a60-3d7e-4e49-9a58-2f6f5d0d7a11"
SECRET = b"s" * 32


def query(link, secret=SECRET):
    return dict(parse_qsl(link.query(secret), keep_blank_values=True))


def test_a_link_is_good_until_it_expires():
    link = links.make(ASSET, now=1000.0, seconds=60)
    assert links.check(ASSET, query(link), SECRET, 1059.0) == (Verdict.GOOD, link)
    assert links.check(ASSET, query(link), SECRET, 1060.0) == (Verdict.EXPIRED, link)


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "999999"},
        {"signature": "x"},
        {"signature": "ü"},
        {"signature": ""},
        {"expires": "-1"},
        {"expires": "1e9"},
        {"expires": ""},
    ],
)
def test_a_link_that_was_changed_is_wrong(change):
    link = links.make(ASSET, now=1000.0, seconds=60)
    assert links.check(ASSET, {**query(link), **change}, SECRET, 1001.0) == (Verdict.WRONG, None)


def test_a_link_opens_no_other_file_and_needs_the_secret_it_was_made_with():
    link = links.make(ASSET, now=1000.0, seconds=60)
    assert links.check(ASSET[::-1], query(link), SECRET, 1001.0)[0] is Verdict.WRONG
    assert links.check("../x", query(link), SECRET, 1001.0)[0] is Verdict.WRONG
    assert links.check(ASSET, query(link), b"other" * 8, 1001.0)[0] is Verdict.WRONG
    assert links.check(ASSET, {}, SECRET, 1001.0)[0] is Verdict.WRONG


def test_no_link_is_good_for_longer_than_a_week():
    assert links.make(ASSET, now=0.0, seconds=1e12).expires == links.LONGEST


@given(st.text(max_size=40), st.integers(0, 10**11), st.text(max_size=40), st.integers(0, 10**11))
def test_asset_and_expiry_cannot_be_shifted_into_one_another(asset, expires, other_asset, other_expires):
    one, other = links.Link(asset, expires), links.Link(other_asset, other_expires)
    if one != other:
        assert query(one)["signature"] != query(other)["signature"]


async def test_the_secret_is_made_once_for_all_that_use_a_database_and_rotates_for_all(tmp_path):
    database = f"sqlite:///{tmp_path / 'queue.db'}"
    first = await asyncio.to_thread(Store, database)
    second = await asyncio.to_thread(Store, database)
    try:
        secret = await LinkKeys(first).secret()
        assert len(secret) >= 32 and await LinkKeys(second).secret() == secret
        await LinkKeys(second).rotate()
        assert await LinkKeys(first).secret() != secret
    finally:
        first.close()
        second.close()
