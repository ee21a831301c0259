"""What docs/scaling.md plans follows from the figures that it tells."""

from __future__ import annotations

import pytest
from benchmarks.sizing import PAGE, ROWS, read_figures, size, sizes, updated

FIGURES = {**dict.fromkeys(ROWS, 1.0), "cpu": 20.0, "rate": 50.0, "idle1": 1.0, "idle64": 7.3, "memory64": 127.0}


def test_the_sizes_of_the_page_follow_from_its_figures() -> None:
    page = PAGE.read_text()
    assert page == updated(page), "write it anew with: python -m benchmarks.sizing"
    assert all(line in page for line in sizes(read_figures(page)))


@pytest.mark.parametrize(
    ("servers", "seconds", "dispatchers"),
    [
        (1, 10, 1),  # one is enough where there is nothing that could go on without it
        (2, 10, 2),
        (1000, 10, 6),  # 100 jobs a second are 2 cores, 1,000 idle servers 1; half of each is planned with
        (1000, 1000, 3),  # the idle servers alone
        (1000, 4, 12),
    ],
)
def test_dispatchers_follow_from_processor_time_and_rate(servers: int, seconds: float, dispatchers: int) -> None:
    assert size(servers, seconds, FIGURES).dispatchers == dispatchers


def test_the_memory_of_a_dispatcher_follows_from_its_servers() -> None:
    assert size(1000, 10, FIGURES).each == 1.0 + 2.0 * 167
