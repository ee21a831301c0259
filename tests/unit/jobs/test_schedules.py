"""Whole schedules of placement, in simulated time: 16 backends, thousands of jobs, loading 20 times a job."""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import pairwise

import pytest
from benchmarks.schedules import Fleet, Outcome, Task, best_possible, first_come, offer

from comfyops.jobs.situation import Owner, Placement, Rules, Situation, Standing, Why

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
LOAD = 20.0
MODELS = ("m1", "m2", "m3", "m4")
MIXES = {"even": (1, 1, 1, 1), "uneven": (40, 30, 20, 10), "skewed": (70, 15, 10, 5), "one": (94, 3, 2, 1)}
ARRIVALS = ("at once", "one by one", "in a minute")
SEEDS = range(5) if WHOLE else range(1)


def backends(count: int, models=MODELS) -> list[Standing]:
    return [Standing(f"b{number}", offer(models)) for number in range(count)]


def tasks(mix: str, arrival: str, *, owners: int = 1, lengths: str = "equal", seed: int = 0, count: int = 2000):
    chance = random.Random(seed)
    found = []
    for number in range(count):
        at = {"at once": 0.0, "one by one": number * 1e-6, "in a minute": chance.random() * 60}[arrival]
        run = 1.0 if lengths == "equal" else chance.lognormvariate(-0.32, 0.8)
        found.append(Task(chance.choices(MODELS, MIXES[mix])[0], run, f"owner{chance.randrange(owners)}", at))
    return found


def ran_whole(given: list[Task], outcome: Outcome) -> None:
    assert Counter(run.task for run in outcome.ran) == Counter(given)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("mix", MIXES)
def test_2000_jobs_take_at_most_a_seventh_longer_than_the_best_schedule(mix, arrival, seed):
    lengths, owners = (("equal", 1), ("mixed", 4))[(seed + ARRIVALS.index(arrival)) % 2]
    given = tasks(mix, arrival, seed=seed, lengths=lengths, owners=owners)
    outcome = Fleet(given, backends(16), LOAD).run()
    ran_whole(given, outcome)
    assert outcome.makespan <= 1.15 * best_possible(given, 16, LOAD)


@pytest.mark.parametrize("mix", MIXES)
def test_2000_jobs_take_at_most_half_of_first_come_first_served(mix):
    given = tasks(mix, "one by one", count=2000 if WHOLE else 800)
    naive = Fleet(given, backends(16), LOAD, choose=first_come).run()
    ran_whole(given, naive)
    assert Fleet(given, backends(16), LOAD).run().makespan <= naive.makespan / 2


def test_each_owner_with_its_own_model_gets_its_share_and_the_whole_is_still_quick():
    given = [Task(f"m{n + 1}", 1.0, f"owner{n}") for n, count in enumerate((1400, 300, 200, 100)) for _ in range(count)]
    outcome = Fleet(given, backends(16), LOAD).run()
    assert outcome.makespan <= 1.15 * best_possible(given, 16, LOAD)
    ends = [max(run.end for run in outcome.ran if run.task.owner == f"owner{n}") for n in range(4)]
    assert ends[3] < ends[0] * 0.8
    assert ends[2] < ends[0]


def test_a_small_owner_is_not_stuck_behind_a_large_one():
    large = [Task("m1", 1.0, "large") for _ in range(2000)]
    small = [Task("m1", 1.0, "small", at=50.0) for _ in range(20)]
    outcome = Fleet([*large, *small], backends(4), LOAD).run()
    assert max(run.end for run in outcome.ran if run.task.owner == "small") < 50 + 2 * 20 / 4 + 5


def test_owners_get_backend_time_by_their_weights():
    given = [Task("m1", 1.0, owner) for owner in ("heavy", "light") for _ in range(900)]
    outcome = Fleet(given, backends(8), LOAD, owners={"heavy": Owner(weight=3.0), "light": Owner(weight=1.0)}).run()
    early = Counter(run.task.owner for run in outcome.ran[:800])
    assert 2.5 < early["heavy"] / early["light"] < 3.5


def test_a_minority_model_waits_no_longer_than_the_age_bound_and_a_turn():
    crowd = [Task("m1", 1.0, "crowd", at=number * 0.24) for number in range(2000)]  # more than 4 backends can do
    rare = [Task("m2", 1.0, "crowd", at=moment) for moment in (100.0, 300.0)]
    outcome = Fleet([*crowd, *rare], backends(4), LOAD).run()
    bound = Rules().age_bound + Rules().turn * LOAD + 2.0
    assert max(outcome.waits(model="m2")) <= bound
    assert Why.AGE in {decision.why for decision in outcome.decisions}


def test_more_models_than_backends_all_get_turns_without_time_lost_to_loading():
    names = [f"m{number}" for number in range(12)]
    given = [Task(name, 1.0, at=number * 0.01) for number in range(200) for name in names]
    outcome = Fleet(given, backends(4, names), LOAD).run()
    ran_whole(given, outcome)
    firsts = [min(run.start for run in outcome.ran if run.task.model == name) for name in names]
    assert max(firsts) < 600  # of a makespan of about 660: nobody waits for the end
    assert outcome.loads * LOAD < 0.35 * sum(run.end - run.start for run in outcome.ran)


def test_a_low_priority_gets_something_while_urgent_work_never_ends():
    urgent = [Task("m1", 1.0, at=number * 0.45, priority=-1) for number in range(3000)]
    humble = [Task("m1", 1.0, at=1.0, priority=5) for _ in range(3)]
    outcome = Fleet([*urgent, *humble], backends(2), LOAD).run()
    starts = sorted(run.start for run in outcome.ran if run.task.priority == 5)
    assert starts[0] <= 1.0 + Rules().starve_bound + 2.0
    assert all(later - earlier > 100 for earlier, later in pairwise(starts))


def test_urgent_jobs_run_before_the_others_of_their_model():
    given = [Task("m1", 1.0, priority=priority) for priority in (5, 0, -5) for _ in range(50)]
    outcome = Fleet(given, backends(4), LOAD).run()
    order = [run.task.priority for run in sorted(outcome.ran, key=lambda run: run.start)]
    assert order == sorted(order)


def check_round(situation: Situation, placement: Placement) -> None:
    """What must hold in every round; see test_placement_properties for the same with odd situations."""
    names = [decision.backend for decision in placement.decisions]
    assert len(names) == len(set(names))


def test_no_round_gives_two_jobs_to_a_backend():
    given = tasks("uneven", "in a minute", count=400, owners=3)
    Fleet(given, backends(16), LOAD, check=check_round).run()
