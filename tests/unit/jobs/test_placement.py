"""The rules of placement, one by one; whole schedules are in test_schedules.py."""

from dataclasses import replace

from benchmarks.schedules import Task, needs_for, offer

from comfyops.jobs.offers import Offer
from comfyops.jobs.placement import place
from comfyops.jobs.situation import Busy, Group, Owner, Rules, Situation, Standing, Why
from comfyops.jobs.turns import Turns

NOW = 1000.0
BOTH = offer(["x", "y"])


def models(name):
    return f"checkpoints/{name}" if name else ""


def group(model, owner="a", *, count=1, priority=0, oldest=NOW, tags=(), run=1.0, load=20.0, served=0.0):
    needs = needs_for(Task(model, tags=frozenset(tags)))
    return Group(owner, priority, needs, count, oldest, run, load, served)


def backend(name, loaded="", *, busy=None, offer=BOTH, since=0.0, open=True):
    return Standing(name, offer, models(loaded), since, busy, open)


def busy(owner="a", since=NOW, run=1.0):
    return Busy(owner, since, run)


def decided(groups, backends, **more):
    placement = place(Situation(groups, backends, NOW, **more))
    return {item.backend: (item.group.needs.model_set.rpartition("/")[2], item.why) for item in placement.decisions}


def test_the_backend_that_has_the_model_loaded_is_taken():
    found = decided([group("y")], [backend("b1", "x"), backend("b2", "y"), backend("b3")])
    assert found == {"b2": ("y", Why.LOADED)}


def test_a_backend_that_has_nothing_loaded_is_taken_before_one_that_must_change_its_models():
    assert decided([group("y")], [backend("b1", "x"), backend("b2")]) == {"b2": ("y", Why.SPARE)}


def test_a_backend_that_cannot_run_a_job_never_gets_it_and_the_reason_is_told():
    placement = place(Situation([group("z")], [backend("b1", "x"), backend("b2")], NOW))
    assert placement.decisions == ()
    assert [item.reason for item in placement.waiting] == ["none of the 2 backends that take jobs now can run it"]


def test_busy_and_closed_backends_get_nothing_and_the_reasons_differ():
    closed = place(Situation([group("x")], [backend("b1", open=False)], NOW))
    assert (closed.decisions, closed.waiting[0].reason) == ((), "no backend takes jobs now")
    occupied = place(Situation([group("x")], [backend("b1", "x", busy=busy())], NOW))
    assert (occupied.decisions, occupied.waiting[0].reason) == ((), "every backend that can run it is busy")


def test_a_job_waits_for_a_busy_backend_with_its_model_where_that_is_sooner_than_loading():
    backends = [backend("b1", "x", busy=busy(run=5.0)), backend("b2", "y")]
    placement = place(Situation([group("x", run=5.0)], backends, NOW))
    assert placement.decisions == ()
    assert "1 backend has its models loaded and will be through in about 10 s" in placement.waiting[0].reason


def test_a_job_does_not_wait_for_a_backend_whose_run_takes_much_longer_than_it_should():
    backends = [backend("b1", "x", busy=busy(since=NOW - 300, run=5.0)), backend("b2", "y")]
    assert decided([group("x", run=5.0)], backends) == {"b2": ("x", Why.SPARE)}


def test_a_spare_backend_helps_with_a_long_queue_of_another_model():
    backends = [backend("b1", "x", busy=busy()), backend("b2", "y")]
    assert decided([group("x", count=100)], backends) == {"b2": ("x", Why.SPARE)}


def test_the_more_urgent_job_goes_first_even_where_its_model_must_be_loaded():
    found = decided([group("x", count=50, priority=5), group("y", priority=-5)], [backend("b1", "x")])
    assert found == {"b1": ("y", Why.SPARE)}


def test_owners_take_turns_by_the_time_they_had():
    groups = [group("x", "early", count=9, oldest=1.0), group("x", "late", count=9)]
    owners = {"early": Owner(turn=30.0), "late": Owner(turn=0.0)}
    placement = place(Situation(groups, [backend("b1", "x")], NOW, owners))
    assert [item.group.owner for item in placement.decisions] == ["late"]


def test_many_free_backends_are_shared_by_the_owners_weights():
    groups = [group("x", "heavy", count=99), group("x", "light", count=99)]
    owners = {"heavy": Owner(weight=3.0), "light": Owner(weight=1.0)}
    placement = place(Situation(groups, [backend(f"b{n}", "x") for n in range(16)], NOW, owners))
    got = [item.group.owner for item in placement.decisions]
    assert (got.count("heavy"), got.count("light")) == (12, 4)


def test_an_owner_at_its_limit_waits_and_is_told_so():
    situation = Situation([group("x", "a", count=5)], [backend("b1", "x"), backend("b2", "x")], NOW)
    placement = place(replace(situation, owners={"a": Owner(running=1, limit=2)}))
    assert len(placement.decisions) == 1
    assert placement.waiting[0].count == 4
    assert "limit" in placement.waiting[0].reason


def test_an_owner_below_its_share_gets_a_backend_of_one_above_it():
    groups = [group("x", "rich", count=500), group("y", "poor", count=500)]
    backends = [backend(f"b{n}", "x", busy=busy("rich")) for n in range(3)] + [backend("b3", "x")]
    assert decided(groups, backends) == {"b3": ("y", Why.SHARE)}


def test_a_backend_keeps_new_models_for_its_turn():
    groups = [group("x", "rich", count=500), group("y", "poor", count=500)]
    backends = [backend(f"b{n}", "x", busy=busy("rich")) for n in range(3)] + [backend("b3", "x", since=NOW - 79)]
    assert decided(groups, backends) == {"b3": ("x", Why.LOADED)}


def test_a_group_that_nobody_serves_takes_a_backend_after_the_age_bound():
    young, old = group("y", oldest=NOW - 59), group("y", oldest=NOW - 60)
    others = group("x", count=500)
    assert decided([others, young], [backend("b1", "x")]) == {"b1": ("x", Why.LOADED)}
    assert decided([others, old], [backend("b1", "x")]) == {"b1": ("y", Why.AGE)}
    assert decided([others, old], [backend("b1", "x")], rules=Rules(age_bound=300)) == {"b1": ("x", Why.LOADED)}


def test_a_group_that_a_busy_backend_serves_is_not_rescued():
    groups = [group("x", count=500), group("y", oldest=1.0)]
    assert decided(groups, [backend("b1", "x"), backend("b2", "y", busy=busy())]) == {"b1": ("x", Why.LOADED)}


def test_the_rescued_group_takes_the_backend_that_is_missed_least():
    offers = offer(["x", "y", "z"])
    groups = [group("x", count=99), group("y", count=99), group("z", oldest=1.0)]
    backends = [backend("b1", "y", offer=offers), *(backend(f"b{n}", "x", offer=offers) for n in (2, 3, 4))]
    assert decided(groups, backends)["b2"] == ("z", Why.AGE)


def test_a_group_of_low_priority_gets_a_job_after_the_starving_bound_and_then_not_at_once_again():
    urgent = group("x", "a", count=500, priority=-1)
    starving = group("x", "b", count=5, priority=9, oldest=NOW - 600)
    placement = place(Situation([urgent, starving], [backend("b1", "x")], NOW))
    assert [(item.group.owner, item.why) for item in placement.decisions] == [("b", Why.STARVING)]
    placement = place(Situation([urgent, replace(starving, served=NOW - 1)], [backend("b1", "x")], NOW))
    assert [item.group.owner for item in placement.decisions] == ["a"]


def test_a_backend_changes_over_where_another_queue_shrinks_by_more_than_the_loading():
    groups = [group("x", count=300), group("y", count=300)]
    backends = [
        *(backend(f"b{n}", "x", busy=busy()) for n in range(8)),
        backend("b8", "x"),
        backend("b9", "y", busy=busy()),
    ]
    assert decided(groups, backends) == {"b8": ("y", Why.BALANCE)}


def test_a_job_without_models_goes_to_any_free_backend_and_leaves_its_models():
    assert decided([group("")], [backend("b1", "x")]) == {"b1": ("", Why.NOTHING_NEEDED)}
    assert decided([group("")], [backend("b1")]) == {"b1": ("", Why.NOTHING_NEEDED)}


def test_a_job_for_one_backend_goes_nowhere_else():
    mine = group("x")
    mine = replace(mine, needs=replace(mine.needs, backend="b2"))
    assert decided([mine], [backend("b1", "x"), backend("b2", "y")]) == {"b2": ("x", Why.SPARE)}
    assert decided([mine], [backend("b1", "x"), backend("b2", "y", busy=busy())]) == {}


def test_tags_keep_a_job_to_the_backends_that_have_them():
    tagged = Offer(BOTH.classes, BOTH.models, tags=frozenset(["big"]))
    found = decided([group("x", tags=["big"])], [backend("b1", "x"), backend("b2", "y", offer=tagged)])
    assert found == {"b2": ("x", Why.SPARE)}


def test_who_comes_back_starts_level_with_the_others():
    turns = Turns()
    turns.charge("a", 100.0)
    turns.charge("b", 40.0, weight=2.0)
    assert turns.of(["a", "b"]) == {"a": 80.0, "b": 0.0}
    assert turns.of(["a"]) == {"a": 0.0}
    turns.charge("a", 10.0)
    assert turns.of(["a", "b", "new"]) == {"a": 0.0, "b": 0.0, "new": 0.0}
