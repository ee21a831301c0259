"""What a person sees while something runs: bars on a terminal, a line per step elsewhere. All of it on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from comfyops.backends import events as ev
from comfyops.cli.output import say, talk
from comfyops.execution.records import PanelState
from comfyops.execution.results import PanelUpdate
from comfyops.workflows.graph import Graph


class Watcher(Protocol):
    """Is told what happens in one run."""

    def __call__(self, event: ev.Event) -> None:
        """Show an event."""


@contextmanager
def watching(graph: Graph, *, quiet: bool) -> Iterator[Watcher]:
    """Show one run's progress until the block is left."""
    if quiet:
        yield lambda event: None
        return
    if not talk().is_terminal:
        yield lambda event: _tell(event, graph)
        return
    with _bars() as bars:
        task = bars.add_task("submitting", total=None)
        yield lambda event: _show(bars, task, event, graph)


@contextmanager
def rendering(panels: int, *, quiet: bool) -> Iterator[_PanelBars]:
    """Show a storyboard's progress until the block is left."""
    with _bars(disable=quiet or not talk().is_terminal) as bars:
        yield _PanelBars(bars, panels)


class _PanelBars:
    """One bar over all panels, and one for each panel that is being rendered."""

    def __init__(self, bars: Progress, panels: int) -> None:
        self.bars = bars
        self.all = bars.add_task("panels", total=panels)
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, update: PanelUpdate) -> None:
        """Show what happened to a panel."""
        if update.state in (PanelState.WAITING, PanelState.RUNNING):
            task = self.tasks.get(update.panel)
            if task is None:
                task = self.tasks[update.panel] = self.bars.add_task(f"  {escape(update.panel)}", total=None)
            if update.event is not None:
                _show(self.bars, task, update.event, None, f"  {escape(update.panel)}")
            return
        task = self.tasks.pop(update.panel, None)
        if task is not None:
            self.bars.remove_task(task)
        self.bars.advance(self.all)
        words = f": {escape(update.message)}" if update.message else ""
        self.bars.console.print(f"  {escape(update.panel)} [bold]{update.state}[/]{words}")


def _bars(*, disable: bool = False) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=talk(), transient=True, disable=disable)


def _show(bars: Progress, task: TaskID, event: ev.Event, graph: Graph | None, prefix: str = "") -> None:
    if isinstance(event, ev.Queued):
        bars.update(task, description=f"{prefix} waiting")
    elif isinstance(event, ev.NodeStarted):
        bars.update(task, description=f"{prefix} {_node(event.node, graph)}", total=1, completed=0)
    elif isinstance(event, ev.Progress):
        label = f"{prefix} {_node(event.node, graph)}"
        bars.update(task, description=label, total=event.maximum, completed=event.value)


def _tell(event: ev.Event, graph: Graph) -> None:
    if isinstance(event, ev.NodeStarted):
        say(_node(event.node, graph))


def _node(node_id: str, graph: Graph | None) -> str:
    if graph is not None and node_id in graph:
        return escape(f"{node_id} {graph[node_id].class_type}")
    return escape(f"node {node_id}")
