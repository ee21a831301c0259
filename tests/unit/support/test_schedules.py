"""When something that repeats is due."""

from __future__ import annotations

from datetime import datetime

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.errors import UsageError
from comfyops.support import schedules

NOON = datetime(2026, 11, 20, 12, 0, 30)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("6h", "2026-11-20 18:00:30"),
        ("90m", "2026-11-20 13:30:30"),
        ("hourly", "2026-11-20 13:00:00"),
        ("daily", "2026-11-21 03:00:00"),
        ("weekly", "2026-11-23 03:00:00"),
        ("monthly", "2026-12-01 03:00:00"),
        ("0 3 * * 1", "2026-11-23 03:00:00"),
        ("*/20 * * * *", "2026-11-20 12:20:00"),
        ("5,10 12-14 * * *", "2026-11-20 12:05:00"),
        ("0 0 1 jan *", "2027-01-01 00:00:00"),
        ("0 0 * * sun", "2026-11-22 00:00:00"),
        ("0 0 * * 7", "2026-11-22 00:00:00"),
        ("0 0 13 * fri", "2026-11-27 00:00:00"),  # on the thirteenth, and on any Friday
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("10/20 * * * *", "2026-11-20 12:10:00"),
    ],
)
def test_the_next_time(text: str, due: str) -> None:
    assert str(schedules.parse(text).next_after(NOON)) == due


@pytest.mark.parametrize(
    "text",
    [
        *("", "sometimes", "0m", "30s", "999d", "* * * *", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 * 13 *"),
        *("0 0 31 2 *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1,,2 * * * *", "0 0 * * 8", "٣ * * * *"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        schedules.parse(text)


@pytest.mark.parametrize(
    ("text", "cron"),
    [("daily", "0 3 * * *"), ("6h", "0 */6 * * *"), ("15m", "*/15 * * * *"), ("1d", "0 3 * * *"), ("60m", "0 * * * *")],
)
def test_a_schedule_in_the_words_of_cron(text: str, cron: str) -> None:
    assert schedules.as_cron(schedules.parse(text)) == cron


def test_what_cron_cannot_say_is_told() -> None:
    with pytest.raises(UsageError):
        schedules.as_cron(schedules.parse("7h"))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """One field of a cron line."""
    number = st.integers(low, high)
    pairs = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])  # 0-0 is read in two ways
    spans = pairs.map(lambda pair: f"{pair[0]}-{pair[1]}")
    return st.one_of(st.just("*"), number.map(str), spans, st.integers(1, high).map(lambda step: f"*/{step}"))


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)),
    st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)),
)
def test_it_agrees_with_another_reader_of_cron(fields: tuple[str, ...], moment: datetime) -> None:
    if fields[2].startswith("*/") or fields[4].startswith("*/"):  # where readers differ: is */2 a star?
        fields = (*fields[:2], "*", fields[3], "*")
    text = " ".join(fields)
    assert schedules.parse(text).next_after(moment) == croniter(text, moment).get_next(datetime)
