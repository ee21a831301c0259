import pytest

from comfyops.backends.events import Failure, Finished, Outcome
from comfyops.errors import RejectedError, RunLostError, StalledError, UnreachableError
from comfyops.jobs import endings
from comfyops.jobs.job import JobState
from comfyops.jobs.retry import Past
from comfyops.jobs.verdicts import decide


def verdict(end, before=(), *, cancelled=False, began=True):
    return decide(end, before, cancelled=cancelled, backend="b1", began=began, chance=1.0)


def node_failed(kind="RuntimeError", message="boom"):
    failure = Failure("7", "KSampler", kind, message)
    return endings.finished(Finished("r", Outcome.FAILED, (), failure=failure), cancelled=False)


def again(end, count):
    signature = verdict(end).signature
    return [Past(f"b{number}", signature) for number in range(count)]


def test_a_success_is_done_unless_somebody_wants_the_job_stopped():
    end = endings.finished(Finished("r", Outcome.SUCCESS, ()), cancelled=False)
    assert verdict(end).to is JobState.DONE
    assert verdict(end, cancelled=True).to is JobState.CANCELLED


@pytest.mark.parametrize("error", [RunLostError("lost"), StalledError("stalled"), UnreachableError("away")])
def test_a_lost_run_waits_for_another_backend(error):
    found = verdict(endings.failed(error))
    assert (found.to, found.outcome) == (JobState.WAITING, "lost")
    assert found.error is not None
    assert not found.error.permanent
    assert found.delay > 0


def test_a_refusal_is_final_and_one_of_a_server_in_trouble_is_not():
    refused = verdict(endings.failed(RejectedError("No.", node_errors=[], status=400)))
    assert (refused.to, refused.outcome) == (JobState.FAILED, "refused")
    assert refused.error is not None
    assert refused.error.permanent
    assert verdict(endings.failed(RejectedError("Oh.", status=500))).to is JobState.WAITING


def test_a_node_that_fails_twice_in_the_same_way_fails_the_job_with_its_node():
    end = node_failed()
    assert verdict(end).to is JobState.WAITING
    found = verdict(end, again(end, 1))
    assert found.to is JobState.FAILED
    assert found.error is not None
    assert (found.error.node, found.error.class_type) == ("7", "KSampler")
    assert "boom" in found.error.message


def test_running_out_of_memory_is_tried_elsewhere():
    end = node_failed("torch.OutOfMemoryError", "Allocation on device")
    assert verdict(end, again(end, 1)).to is JobState.WAITING
    assert verdict(end, again(end, 2)).to is JobState.FAILED


def test_a_backend_that_was_gone_before_the_job_began_does_not_count_against_it():
    end = endings.failed(UnreachableError("away"))
    gone = [Past("b1", verdict(end, began=False).signature)] * 30
    assert verdict(end, gone, began=False).to is JobState.WAITING
    assert verdict(end, gone).to is JobState.WAITING
    assert verdict(end, again(end, 2)).to is JobState.FAILED
