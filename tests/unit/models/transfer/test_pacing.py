"""When to try again."""

from __future__ import annotations

import time

from comfyops.models.transfer.pacing import Hosts, Patience, RateLimit, delay, retry_after


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
    patience.progressed()
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
