"""Threads that are waited for by one that gets signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from comfyops.support.threads import Thread


class Interrupted(Exception):
    """What a signal raises in the main thread."""


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGUSR1 is raised as an error, as Ctrl-C is."""

    def stop(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_thread_whose_join_was_interrupted_is_still_waited_for(interrupts: None) -> None:
    """threading.Thread is not, before Python 3.13."""
    main, go, done = threading.main_thread().ident, threading.Event(), []
    assert main is not None

    def work() -> None:
        signal.pthread_kill(main, signal.SIGUSR1)
        go.wait(10)
        done.append(1)

    thread = Thread(work)
    with pytest.raises(Interrupted):
        thread.start()
        thread.join(10)
    thread.join(0.01)
    assert thread.is_alive() and not done
    go.set()
    thread.join(10)
    assert done and not thread.is_alive()


def test_a_thread_that_fails_is_over() -> None:
    failed: list[object] = []
    before, threading.excepthook = threading.excepthook, failed.append
    try:
        thread = Thread(lambda: 1 / 0, name="divides")
        thread.start()
        thread.join(10)
    finally:
        threading.excepthook = before
    assert failed and not thread.is_alive() and thread.daemon


def test_a_thread_that_was_not_begun_cannot_be_waited_for() -> None:
    with pytest.raises(RuntimeError):
        Thread(lambda: None).join()
