"""Pure: when something that repeats is due: "daily", "6h", or five fields as cron has them. Times are local.

A time that the clock leaps over in spring is due when it has leapt; one that comes twice in autumn is due once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyops.errors import UsageError

NAMED: Mapping[str, str] = {
    "hourly": "0 * * * *",
    "daily": "0 3 * * *",
    "weekly": "0 3 * * 1",
    "monthly": "0 3 1 * *",
}
"""Words for the usual ones; those that are due once a day or less are due at three in the night."""

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_INTERVAL = re.compile(r"(\d{1,5})([mhd])")
_PART = re.compile(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d{1,2}))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_FAR = 366 * 28  # days in which any date that exists comes on any weekday


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so many seconds."""

    text: str
    seconds: float

    def next_after(self, moment: datetime) -> datetime:
        """When it is due after having been done at this time."""
        return moment + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Cron:
    """At certain minutes. `text` is the five fields."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool  # whether "day" and "weekday" must both fit: one of them is *

    def next_after(self, moment: datetime) -> datetime:
        """The first minute after this time that fits. Raises UsageError where there is none, as of 31 February."""
        start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for ahead in range(_FAR):
            day = start.date() + timedelta(days=ahead)
            if day.month not in self.months or not self._on(day.day, day.isoweekday() % 7):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=moment.tzinfo)
                    if found >= start:
                        return found
        raise UsageError(f"The schedule {self.text!r} never comes.")

    def _on(self, day: int, weekday: int) -> bool:
        by_date, by_week = day in self.days, weekday in self.weekdays
        return by_date and by_week if self.any_day else by_date or by_week


Schedule = Interval | Cron


def parse(text: str) -> Schedule:
    """A schedule. Raises UsageError for what is none, or never comes."""
    found = _INTERVAL.fullmatch(text.strip().lower())
    if found:
        seconds = int(found[1]) * _UNITS[found[2]]
        if not 60 <= seconds <= 366 * 86_400:
            raise UsageError(f"{text!r} is no interval from a minute to a year.")
        return Interval(text.strip().lower(), seconds)
    fields = NAMED.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise _wrong(text)
    values = [_values(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = values
    weekdays = frozenset(day % 7 for day in weekdays)
    cron = Cron(" ".join(fields), minutes, hours, days, months, weekdays, "*" in (fields[2][:1], fields[4][:1]))
    cron.next_after(datetime(2024, 1, 1))  # any day will do
    return cron


def as_cron(schedule: Schedule) -> str:
    """The five fields of a schedule. Raises UsageError for an interval that they cannot say."""
    if isinstance(schedule, Cron):
        return schedule.text
    minutes = int(schedule.seconds // 60)
    if minutes < 60 and 60 % minutes == 0:
        return f"*/{minutes} * * * *"
    if minutes % 60 == 0 and 24 % (minutes // 60) == 0:
        return f"0 {'*' if minutes == 60 else f'*/{minutes // 60}' if minutes < 1440 else '3'} * * *"
    raise UsageError(f"cron cannot say {schedule.text!r}.", hint="Give five fields, such as '0 3 * * *'.")


def _values(field: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in field.lower().split(","):
        found = _PART.fullmatch(part)
        if not found:
            raise _wrong(field, name)
        step = int(found[4] or 1)
        first, last = (low, high) if found[1] == "*" else _range(found, name, high)
        if not (low <= first <= last <= high and step):
            raise _wrong(field, name)
        values |= set(range(first, last + 1, step))
    return frozenset(values)


def _range(found: re.Match[str], name: str, high: int) -> tuple[int, int]:
    first = _number(found[2], name)
    return first, _number(found[3], name) if found[3] else high if found[4] else first


def _number(text: str, name: str) -> int:
    words = {"month": _MONTHS, "weekday": _DAYS}.get(name, ())
    if text in words:
        return words.index(text) + (name == "month")
    if not text.isascii() or not text.isdigit():
        raise _wrong(text, name)
    return int(text)


def _wrong(text: str, name: str = "") -> UsageError:
    words = f"{text[:60]!r} is no {name or 'schedule'}{' of a schedule' if name else ''}."
    return UsageError(words, hint="It looks like daily, weekly, 6h, or '0 3 * * 1' (minute hour day month weekday).")
