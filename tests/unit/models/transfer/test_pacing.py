"""When to try again."""

from __future__ import annotations

import errno
import http.client
import socket
import time

import pytest

from comfyops.models.transfer.pacing import (
    ENOUGH,
    ConnectTimeoutError,
    Hosts,
    Patience,
    RateLimit,
    Trouble,
    delay,
    longest_wait,
    retry_after,
    tries,
    trouble_of,
    words_of,
)


def test_delays_double_up_to_a_limit_and_are_spread() -> None:
    assert [delay(count, lambda: 1.0) for count in (1, 2, 3, 9)] == [0.2, 0.4, 0.8, 8.0]
    assert delay(1, lambda: 0.0) == 0.1


def test_retry_after_takes_seconds_and_dates() -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert retry_after("12", None) == 12.0
    assert retry_after("-3", None) == 0.0
    assert retry_after("Wed, 21 Oct 2026 07:28:30 GMT", date) == 30.0
    assert retry_after(date, None, now=1792567670.0) == 10.0
    assert retry_after("soon", None) is None and retry_after(None, date) is None


def test_a_date_is_measured_by_the_servers_clock_not_by_ours() -> None:
    assert retry_after("Mon, 01 Jan 2001 00:00:05 GMT", "Mon, 01 Jan 2001 00:00:00 GMT", now=4e9) == 5.0


def test_a_wave_of_failures_counts_once_and_progress_forgives() -> None:
    patience = Patience(2)
    began = time.monotonic()
    assert all(patience.failed(began) is not None for _ in range(16))
    assert patience.failures == 1
    assert patience.failed(time.monotonic()) is not None
    assert patience.failed(time.monotonic()) is None
    patience.progressed(ENOUGH)
    assert patience.failed(time.monotonic()) is not None


def test_a_busy_host_gets_fewer_connections_until_it_serves_again() -> None:
    hosts = Hosts(16)
    hosts.busy("a", 30.0)
    hosts.busy("a", 30.0)  # of the same moment
    assert hosts.limit("a") == 8 and 29 < hosts.wait("a") <= 30
    assert hosts.limit("b") == 16 and hosts.wait("b") == 0
    for _ in range(100):
        hosts.served("a")
    assert hosts.limit("a") == 16


def test_a_cap_asks_to_wait_as_long_as_the_bytes_take() -> None:
    limit = RateLimit(1_000_000)
    waits = [limit.spend(100_000) for _ in range(5)]
    assert 0.4 <= waits[-1] <= 0.5 and waits == sorted(waits)
    assert RateLimit(None).spend(10**12) == 0.0 and RateLimit(None).block is None


@pytest.mark.parametrize(
    ("trouble", "reached", "patient", "most"),
    [
        (Trouble.NOBODY, False, False, 0),
        (Trouble.SILENT, False, False, 0),
        (Trouble.BROKEN, False, False, 0),
        (Trouble.NOBODY, False, True, 2),
        (Trouble.SILENT, False, True, 0),
        (Trouble.BROKEN, False, True, 3),
        (Trouble.NOBODY, True, False, 2),
        (Trouble.NOBODY, True, True, 8),
        (Trouble.SILENT, True, True, 8),
        (None, True, True, 8),
        (None, True, False, 2),
    ],
)
def test_a_host_that_was_never_reached_is_given_up_soon(
    trouble: Trouble | None, reached: bool, patient: bool, most: int
) -> None:
    assert tries(trouble, 8, reached=reached, patient=patient) == most
    assert tries(trouble, 1, reached=reached, patient=patient) <= 1


def test_troubles_are_told_apart() -> None:
    assert trouble_of(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is Trouble.NOBODY
    assert trouble_of(socket.gaierror(-2, "Name or service not known")) is Trouble.NOBODY
    assert trouble_of(OSError(errno.EHOSTUNREACH, "No route to host")) is Trouble.NOBODY
    assert trouble_of(ConnectTimeoutError("no connection")) is Trouble.SILENT
    assert trouble_of(TimeoutError("read")) is Trouble.BROKEN
    assert trouble_of(http.client.IncompleteRead(b"")) is Trouble.BROKEN


def test_a_source_that_went_away_is_left_soon_where_others_are_left() -> None:
    for alone, most in ((False, 4), (True, 8)):
        patience = Patience(8, patient=alone)
        patience.progressed(ENOUGH)
        waits = [patience.failed(time.monotonic(), Trouble.NOBODY) for _ in range(9)]
        assert waits.index(None) == most, "bytes had come, so it was tried a few times"


def test_bytes_make_patient() -> None:
    patience = Patience(8, patient=False)
    assert patience.failed(0.0, Trouble.NOBODY, reached=False) is None
    patience.progressed(ENOUGH)
    assert patience.failed(time.monotonic(), Trouble.NOBODY) is not None
    assert longest_wait(300.0, patient=False) == 2.0 and longest_wait(300.0, patient=True) == 300.0


def test_a_few_bytes_at_a_time_forgive_nothing_until_they_are_enough() -> None:
    patience = Patience(2)
    for _ in range(2):
        patience.progressed(1)
        assert patience.failed(time.monotonic()) is not None
    patience.progressed(1)
    assert patience.failed(time.monotonic()) is None
    patience.progressed(ENOUGH - 3)
    assert patience.failed(time.monotonic()) is not None


def test_an_error_is_told_in_one_printable_line() -> None:
    assert words_of(OSError("SSH-2.0\r\n\x1b]0;title\x07" + "x" * 500)).startswith("SSH-2.0 ?]0;title?xxx")
    assert len(words_of(OSError("x" * 500))) == 200
    assert words_of(ConnectionResetError()) == "ConnectionResetError"


def test_a_dead_host_is_remembered_until_it_answers() -> None:
    hosts = Hosts(16)
    assert hosts.dead("a") is None and not hosts.reached("a")
    hosts.lost("a", "connection refused")
    assert hosts.dead("a") == "connection refused" and hosts.dead("b") is None
    hosts.answered("a")
    assert hosts.dead("a") is None and hosts.reached("a")
