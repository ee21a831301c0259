"""Commands that work in threads: stopped cleanly by Ctrl-C and by SIGTERM, and how far they read is shown."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from comfyops.cli.output import count, in_words, show, talk
from comfyops.models.hashing import HashProgress, Listener
from comfyops.models.progress_log import HashLog

_LINE_EVERY = 5.0  # seconds, where there is no terminal


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, are what Ctrl-C is, a KeyboardInterrupt, until the block is left.

    Elsewhere than in the main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _ends()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ends() -> list[signal.Signals]:
    """The signals that ask for an end; what `nohup` has told us to ignore stays ignored."""
    hangup = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    return [signal.SIGTERM, *(number for number in hangup if signal.getsignal(number) == signal.SIG_DFL)]


@contextmanager
def hashing_shown(*, quiet: bool) -> Iterator[Listener]:
    """Show how far files are read until the block is left, which may be stopped: a bar on a terminal, a line now and
    then elsewhere; and log it.
    """
    logged = HashLog()
    with stoppable():
        if quiet:
            yield logged
        elif not talk().is_terminal:
            yield _both(logged, _Lines())
        else:
            columns = (
                TextColumn("reading"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=talk(), transient=True) as bars:
                task = bars.add_task("reading", total=None)
                moved = partial(bars.update, task)
                yield _both(logged, lambda told: moved(completed=told.read_bytes, total=told.of_bytes))


def _both(logged: Listener, shown: Listener) -> Listener:
    def listen(told: HashProgress) -> None:
        logged(told)
        shown(told)

    return listen


class _Lines:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_EVERY

    def __call__(self, told: HashProgress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_EVERY
        percent = 100 * told.read_bytes // max(1, told.of_bytes)
        read, whole = in_words(told.read_bytes), in_words(told.of_bytes)
        show(f"reading: {percent} % ({read} of {whole}), {told.files} of {count(told.of_files, 'file')}")
