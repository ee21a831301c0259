"""How rows of backends become what placement decides on."""

from types import SimpleNamespace

from comfyops.jobs.offers import Offer
from comfyops.jobs.placing import _standing

ROW = SimpleNamespace(id="b1", state="up", loaded="x", loaded_since=5.0)


def job(model_set, warm=None, cold=None):
    return SimpleNamespace(owner="ann", bound_at=9.0, model_set=model_set, warm=warm, cold=cold)


def test_a_free_backend_has_what_it_loaded_last():
    found = _standing(ROW, Offer(), None)
    assert (found.loaded, found.loaded_since, found.busy, found.open) == ("x", 5.0, None, True)


def test_a_backend_at_work_has_or_loads_the_models_of_its_job():
    loading = _standing(ROW, Offer(), job("y", warm=2.0, cold=30.0))
    assert (loading.loaded, loading.loaded_since) == ("y", 9.0)
    assert loading.busy is not None
    assert (loading.busy.owner, loading.busy.since, loading.busy.run) == ("ann", 9.0, 30.0)
    going_on = _standing(ROW, Offer(), job("x", warm=2.0, cold=30.0))
    assert (going_on.loaded, going_on.loaded_since) == ("x", 5.0)
    assert going_on.busy is not None
    assert going_on.busy.run == 2.0


def test_a_job_without_models_changes_nothing_of_what_is_loaded():
    found = _standing(ROW, Offer(), job("", warm=1.0))
    assert (found.loaded, found.loaded_since) == ("x", 5.0)


def test_a_backend_that_is_not_up_takes_no_more():
    assert not _standing(SimpleNamespace(**{**vars(ROW), "state": "drained"}), Offer(), None).open
