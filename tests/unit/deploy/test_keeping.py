"""How long a ComfyUI that has ended is waited with, and when it is given up."""

from __future__ import annotations

from comfyops.deploy.keeping import Patience


def test_pauses_double_up_to_the_longest() -> None:
    patience = Patience(first=1, most=5, restarts=10, window=100)
    ends = [0.0]
    pauses = []
    for _ in range(5):
        pauses.append(patience.pause(ends, 10))
        ends.append(5.0)
    assert pauses == [1, 2, 4, 5, 5]


def test_it_is_given_up_after_too_many_ends_in_a_short_time() -> None:
    patience = Patience(restarts=2, window=100)
    assert patience.pause([1, 2], 3) is not None
    assert patience.pause([1, 2, 3], 3) is None


def test_ends_of_long_ago_do_not_count() -> None:
    patience = Patience(first=1, restarts=2, window=100)
    assert patience.pause([1, 2, 3, 500], 500) == 1
