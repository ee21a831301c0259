"""What holds for every round of placement, whatever waits and whatever is free."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from comfyops.jobs.needs import ModelFile, Needs
from comfyops.jobs.offers import Offer, refusals
from comfyops.jobs.placement import place
from comfyops.jobs.situation import Busy, Group, Owner, Situation, Standing, Why

NOW = 10_000.0
NAMES = st.sampled_from(["x", "y", "z"])
TAGS = st.frozensets(st.sampled_from(["big", "eu"]), max_size=2)
BACKENDS = ("b0", "b1", "b2", "b3", "b4", "b5")


def needs(model: str, tags: frozenset[str], backend: str) -> Needs:
    return Needs(models=(ModelFile("checkpoints", model),) if model else (), tags=tags, backend=backend)


def offer(models: frozenset[str], tags: frozenset[str]) -> Offer:
    return Offer(models={"checkpoints": models}, tags=tags)


groups = st.builds(
    Group,
    owner=st.sampled_from(["a", "b", "c"]),
    priority=st.integers(-2, 2),
    needs=st.builds(needs, st.sampled_from(["", "x", "y", "z"]), TAGS, st.sampled_from(["", "", "", "b1", "gone"])),
    count=st.integers(0, 30),
    oldest=st.floats(0, NOW),
    run=st.floats(0.1, 600),
    load=st.floats(0, 120),
    served=st.floats(0, NOW),
)
standings = st.builds(
    Standing,
    backend=st.sampled_from(BACKENDS),
    offer=st.builds(offer, st.frozensets(NAMES), TAGS),
    loaded=st.sampled_from(["", "checkpoints/x", "checkpoints/y", "checkpoints/z"]),
    loaded_since=st.floats(0, NOW),
    busy=st.none() | st.builds(Busy, st.sampled_from(["a", "b", "z"]), st.floats(0, NOW), st.floats(0.1, 600)),
    open=st.booleans(),
)
owners = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(
        Owner,
        running=st.integers(0, 5),
        weight=st.floats(0.1, 10),
        limit=st.none() | st.integers(0, 4),
        turn=st.floats(0, 1e6),
    ),
)
situations = st.builds(
    Situation,
    groups=st.lists(groups, max_size=8, unique_by=lambda group: (group.owner, group.priority, group.needs.key)),
    backends=st.lists(standings, max_size=6, unique_by=lambda standing: standing.backend),
    now=st.just(NOW),
    owners=owners,
)


@given(situations)
def test_a_job_goes_only_to_a_free_open_backend_that_can_run_it_and_never_two_to_one(situation):
    standing = {item.backend: item for item in situation.backends}
    decisions = place(situation).decisions
    assert max(Counter(decision.backend for decision in decisions).values(), default=0) <= 1
    for decision in decisions:
        backend = standing[decision.backend]
        assert backend.open
        assert backend.busy is None
        assert refusals(decision.group.needs, backend.offer, backend.backend) == ()
        assert decision.reason


@given(situations)
def test_every_waiting_job_is_placed_once_or_told_why_not(situation):
    placement = place(situation)
    placed = Counter((item.group.owner, item.group.priority, item.group.needs.key) for item in placement.decisions)
    left = {(item.group.owner, item.group.priority, item.group.needs.key): item for item in placement.waiting}
    for group in situation.groups:
        key = (group.owner, group.priority, group.needs.key)
        assert placed[key] + (left[key].count if key in left else 0) == group.count
        assert key not in left or left[key].reason


@given(situations)
def test_no_owner_gets_more_running_jobs_than_its_limit(situation):
    given_to = Counter(decision.group.owner for decision in place(situation).decisions)
    for name, owner in situation.owners.items():
        assert owner.limit is None or given_to[name] == 0 or owner.running + given_to[name] <= owner.limit


@given(situations)
def test_no_backend_stays_free_while_a_job_waits_unless_loading_is_not_worth_it(situation):
    placement = place(situation)
    used = {decision.backend: decision for decision in placement.decisions}
    loaded = defaultdict(list)
    for item in situation.backends:
        if item.open:
            models = item.loaded
            if item.backend in used and used[item.backend].group.needs.model_set:
                models = used[item.backend].group.needs.model_set
            loaded[models].append(item)
    free = [item for item in situation.backends if item.open and item.busy is None and item.backend not in used]
    given_to = Counter(decision.group.owner for decision in placement.decisions)
    for waiting in placement.waiting:
        group = waiting.group
        owner = situation.owners.get(group.owner, Owner())
        if owner.limit is not None and owner.running + given_to[group.owner] >= owner.limit:
            continue
        for item in free:
            if not refusals(group.needs, item.offer, item.backend):
                others = [
                    one for one in loaded[group.needs.model_set] if not refusals(group.needs, one.offer, one.backend)
                ]
                assert group.needs.model_set, "a job that needs no models is worth any free backend"
                assert others, "a backend idles though no other one has the models"
                assert item not in others, "a backend idles though it has the models"


@given(situations)
def test_the_same_situation_is_decided_the_same_way(situation):
    assert place(situation) == place(situation)


@given(situations)
def test_a_more_urgent_job_is_never_passed_over_on_a_backend_that_has_its_models(situation):
    placement = place(situation)
    standing = {item.backend: item for item in situation.backends}
    for decision in placement.decisions:
        backend = standing[decision.backend]
        if decision.why is Why.STARVING:
            continue
        for waiting in placement.waiting:
            group = waiting.group
            fits = not refusals(group.needs, backend.offer, backend.backend)
            blocked = situation.owners.get(group.owner, Owner()).limit is not None
            if group.priority < decision.group.priority and fits and not blocked:
                assert group.needs.model_set not in ("", backend.loaded)
