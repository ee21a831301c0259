"""Ranges: whatever is taken, stolen, written and given back, no byte is lost and none is claimed too early."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from comfyops.models.transfer.ranges import LONGEST, SHORTEST, Ranges, complement, merged, segment_length, total
from comfyops.models.transfer.request import MIB

SIZE = 40 * MIB
ACTIONS = ["take", "steal", "cut", "write", "back", "whole"]
pairs = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=12)


@settings(deadline=None, derandomize=True)
@given(pairs)
def test_merged_and_complement_share_out_every_byte(ranges: list[tuple[int, int]]) -> None:
    covered = {byte for start, end in ranges for byte in range(start, end)}
    assert {byte for start, end in merged(ranges) for byte in range(start, end)} == covered
    assert total(complement(merged(ranges), 100)) == 100 - len(covered)
    assert merged(complement(merged(ranges), 100)) == complement(merged(ranges), 100)


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=60))
def test_no_byte_is_claimed_that_was_not_written(steps: list[tuple[str, int]]) -> None:
    ranges = Ranges(SIZE)
    written: set[int] = set()  # in units of a MiB / 4
    unit = MIB // 4
    for action, number in steps:
        if action == "take":
            ranges.take(SHORTEST)
        elif action == "steal":
            ranges.steal()
        elif action == "cut":
            ranges.cut()
        elif action == "whole" and number == 0:
            ranges.forget_beyond_frontier()
        elif ranges.running:
            segment = ranges.running[number % len(ranges.running)]
            if action == "write" and segment.missing:
                written.add(segment.position // unit)
                segment.position += min(unit, segment.missing)
            elif action == "back":
                ranges.give_back(segment)
        claimed = {at // unit for start, end in ranges.written() for at in range(start, end, unit)}
        assert claimed <= written
        assert total(ranges.written()) + ranges.missing() == SIZE
        assert ranges.frontier() == next((start for start, _ in complement(ranges.written(), SIZE)), SIZE)


def test_everything_can_be_fetched_even_when_each_segment_breaks_half_way() -> None:
    ranges = Ranges(SIZE, written=[(0, 5 * MIB), (20 * MIB, 21 * MIB)])
    assert ranges.missing() == SIZE - 6 * MIB
    rounds = 0
    while (segment := ranges.take(SHORTEST)) is not None:
        segment.position += (segment.missing + 1) // 2
        ranges.give_back(segment)
        rounds += 1
    assert ranges.missing() == 0 and ranges.frontier() == SIZE and rounds < 500


def test_the_longest_running_segment_is_halved_and_a_short_one_is_left_alone() -> None:
    ranges = Ranges(20 * MIB)
    first = ranges.take(20 * MIB)
    assert first is not None and ranges.take(MIB) is None
    stolen = ranges.steal()
    assert stolen is not None and (first.end, stolen.start, stolen.end) == (10 * MIB, 10 * MIB, 20 * MIB)
    first.position, stolen.position = 9 * MIB, 19 * MIB
    assert ranges.steal() is None


def test_a_running_segment_is_cut_where_it_is() -> None:
    ranges = Ranges(20 * MIB)
    segment = ranges.take(16 * MIB)
    assert segment is not None
    segment.position = 3 * MIB
    assert ranges.cut() and segment.missing == 0 and ranges.gaps == [(3 * MIB, 20 * MIB)]
    segment.position += 1000  # what its thread had read by then
    ranges.give_back(segment)
    assert ranges.frontier() == 3 * MIB and not ranges.cut()


def test_a_rest_that_is_hardly_longer_than_a_segment_is_not_cut_in_two() -> None:
    segment = Ranges(SHORTEST + 1000).take(SHORTEST)
    assert segment is not None and segment.end == SHORTEST + 1000


def test_an_empty_file_is_complete() -> None:
    ranges = Ranges(0)
    assert (ranges.frontier(), ranges.missing(), ranges.written(), ranges.take(1)) == (0, 0, [], None)


def test_segments_grow_with_latency_times_rate_within_bounds() -> None:
    assert segment_length(0.001, 20e6) == SHORTEST
    assert segment_length(0.1, 10e6) == 30_000_000
    assert segment_length(2.0, 100e6) == LONGEST
