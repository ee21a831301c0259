"""Whether a server would take a workflow, and what is wrong with it, in plain words.

Severity `error` is exactly what makes the server refuse the workflow or drop an output of it, `danger` is what it
accepts and then breaks on, everything else is `warning`. One exception: ComfyUI 0.8 refuses a cycle without naming its
nodes, so beside other errors a cycle is a warning there, and an error of the whole workflow where it is the only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comfyops.workflows.checks.cautions import cautions
from comfyops.workflows.checks.custom import FileExists
from comfyops.workflows.checks.dangers import dangers, request_problems
from comfyops.workflows.checks.explain import problems_of, refusal
from comfyops.workflows.checks.server import Verdict, check
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity


@dataclass(frozen=True, slots=True)
class Report:
    """All problems of one workflow, the worst first."""

    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether a server takes it whole."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    @property
    def safe(self) -> bool:
        """Whether no server breaks on it."""
        return all(problem.severity is not Severity.DANGER for problem in self.problems)


def validate(graph: Graph, types: NodeTypes, *, file_exists: FileExists | None = None) -> tuple[Problem, ...]:
    """The problems of a graph on a server with these node types, the worst first.

    `file_exists` answers for files in the server's input, output and temp folders; without it they are not checked.
    """
    return report(graph, types, file_exists=file_exists).problems


def report(
    graph: Graph,
    types: NodeTypes,
    *,
    request: Mapping[str, object] | None = None,
    file_exists: FileExists | None = None,
) -> Report:
    """The same as a report; `request` holds the other fields of a POST /prompt body, where there are any."""
    verdict = check(graph, types, file_exists=file_exists)
    problems = [*request_problems(request or {}, modern=types.is_modern), *_errors(verdict, types)]
    if verdict.accepted:
        problems += dangers(verdict.graph, types, verdict.good_outputs)
    if verdict.accepted or verdict.node_faults or verdict.silent_cycle:
        problems += cautions(verdict.graph, types)
    order = list(Severity)
    return Report(tuple(sorted(problems, key=lambda problem: order.index(problem.severity))))


def _errors(verdict: Verdict, types: NodeTypes) -> Iterator[Problem]:
    if verdict.silent_cycle:
        severity = Severity.WARNING if verdict.node_faults else Severity.ERROR
        path = " -> ".join(verdict.silent_cycle)
        words = f"Nodes need their own results, by way of {path}; this server refuses that without saying why."
        yield Problem("", "", "dependency_cycle", severity, words)
    elif verdict.error and not verdict.node_faults:
        yield from refusal(verdict.error, verdict.graph, types)
    for node_id, faults in verdict.node_faults.items():
        for fault in faults:
            yield from problems_of(fault, node_id, verdict.graph, types)
