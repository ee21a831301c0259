import pytest

from comfyops.jobs.retry import BadEnd, Cause, Past, RetryRules, judge


def past(*ends):
    return [Past(end.backend, end.signature) for end in ends]


def failed(node="3", kind="RuntimeError", message="boom", backend="b1"):
    return BadEnd("run_failed", message, node, kind, backend=backend)


LOST = BadEnd("run_lost", "The server forgot it.", backend="b1")
MEMORY = failed(kind="torch.OutOfMemoryError", message="Allocation on device")


@pytest.mark.parametrize(
    "end",
    [
        LOST,
        BadEnd("backend_unreachable", backend="b1"),
        BadEnd("backend_stalled", backend="b1"),
        BadEnd("timeout", backend="b1"),
        BadEnd("run_interrupted", backend="b1"),
        BadEnd("rejected", status=500, backend="b1"),
        BadEnd("rejected", status=429, backend="b1"),
        BadEnd("login_required", status=401, backend="b1"),
        BadEnd("output_gone", backend="b1"),
        MEMORY,
        failed(),
    ],
)
def test_what_may_pass_is_tried_again_rather_elsewhere(end):
    found = judge(end, [], 0.5)
    assert found.again
    assert found.avoid == ("b1",)


@pytest.mark.parametrize(
    "end",
    [
        BadEnd("rejected", "The server refused the workflow.", status=400),
        BadEnd("rejected", "The server refused the workflow."),
        BadEnd("workflow_format", "It is no workflow."),
        BadEnd("dependency", "The other job made no such output."),
    ],
)
def test_what_must_end_the_same_way_again_is_final_with_its_reason(end):
    found = judge(end, [], 0.5)
    assert not found.again
    assert found.reason == end.message


def test_a_node_may_fail_once_but_not_twice_in_the_same_way():
    assert judge(failed(), past(LOST), 0.5).again
    found = judge(failed(message="boom at 0x7f02"), past(failed(message="boom at 0x7f01", backend="b2")), 0.5)
    assert not found.again
    assert "same node" in found.reason


def test_another_node_or_another_exception_is_another_failure():
    assert judge(failed(node="9"), past(failed()), 0.5).again
    assert judge(failed(kind="ValueError"), past(failed()), 0.5).again


@pytest.mark.parametrize(
    "end",
    [
        failed(kind="torch.OutOfMemoryError"),
        failed(kind="torch.cuda.OutOfMemoryError"),
        failed(kind="RuntimeError", message="CUDA error: out of memory"),
        failed(kind="Exception", message="Allocation on device "),
    ],
)
def test_running_out_of_memory_is_told_from_other_failures(end):
    assert end.cause is Cause.MEMORY


def test_memory_may_run_out_only_a_few_times():
    assert judge(MEMORY, past(MEMORY), 0.5).again
    found = judge(MEMORY, past(MEMORY, MEMORY), 0.5)
    assert not found.again
    assert "3 attempts ran out of memory" in found.reason


def test_a_job_under_which_servers_go_away_is_not_tried_on_more():
    stalled = BadEnd("backend_stalled", backend="b2")
    assert judge(LOST, past(stalled), 0.5).again
    found = judge(BadEnd("backend_unreachable", backend="b3"), past(LOST, stalled), 0.5)
    assert not found.again
    assert "3 times a server went away" in found.reason


def test_refusals_of_a_server_in_trouble_are_no_poison_but_end_too():
    trouble = BadEnd("rejected", status=503, backend="b1")
    assert judge(trouble, past(*[trouble] * 6), 0.5).again
    found = judge(trouble, past(*[trouble] * 7), 0.5)
    assert not found.again
    assert "8 attempts ended badly" in found.reason


def test_trouble_of_our_own_disk_is_waited_out_and_counts_for_nothing_else():
    full = BadEnd("disk_full", "No space is left.", backend="b1")
    found = judge(full, past(*[full] * 50), 1.0)
    assert found.again
    assert found.avoid == ()
    assert found.delay == 300.0
    assert judge(BadEnd("run_interrupted"), past(*[full] * 50), 0.5).again
    assert not judge(full, past(*[full] * 99), 0.5).again


def test_pauses_double_up_to_a_bound_and_are_spread_by_chance():
    end = BadEnd("run_interrupted", backend="b1")
    rules = RetryRules(attempts=1000)
    pauses = [judge(end, past(*[end] * count), 1.0, rules).delay for count in range(12)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == 300.0
    assert judge(end, past(end, end), 0.0, rules).delay == 2.0
    assert judge(end, past(*[end] * 900), 0.0, rules).delay == 150.0


def test_servers_that_were_gone_before_the_job_began_are_not_its_fault():
    away = BadEnd("backend_unreachable", backend="b1", began=False)
    found = judge(away, past(*[away] * 20), 1.0)
    assert found.again
    assert found.avoid == ("b1",)
    assert judge(LOST, past(*[away] * 20), 1.0).again
    assert not judge(away, past(*[away] * 99), 1.0).again
