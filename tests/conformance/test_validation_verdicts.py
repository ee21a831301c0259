"""The verdicts of real servers, recorded, against ours.

Where a node's check raises, a real server's answer depends on the order of a Python set: which of the node's other
inputs it still looks at changes from start to start. `also` holds the other sets of faulty nodes that the same server
gave for the same graph on other starts.
"""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from comfyops.workflows import api_format, node_types
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import Report, report

DATA = Path(__file__).parent.parent / "data"


def recorded_types(version: str) -> node_types.NodeTypes:
    """The recording server's node types: the shipped facts with its own lists of files."""
    shipped = node_types.shipped(version)
    facts = copy.deepcopy(shipped.object_info())
    for class_type, lists in json.loads((DATA / f"recorded-files-{version}.json").read_text()).items():
        for name, files in lists.items():
            for group in facts[class_type]["input"].values():
                if name in group:
                    kind, *options = group[name]
                    group[name] = (
                        [files, *options] if isinstance(kind, list) else [kind, {**options[0], "options": files}]
                    )
    return node_types.NodeTypes(facts, version=version)


def rows(version: str) -> list[dict[str, Any]]:
    text = gzip.decompress((DATA / f"validation-{version}.jsonl.gz").read_bytes()).decode()
    return [row for row in map(json.loads, text.splitlines()) if not row["needs_disk"]]


def faulty_nodes(answer: Report) -> list[str]:
    errors = [problem for problem in answer.problems if problem.severity is Severity.ERROR]
    return sorted({problem.node for problem in errors if problem.code != "custom_validation_failed"})


@pytest.mark.parametrize("version", node_types.SHIPPED)
def test_verdict_and_faulty_nodes_equal_the_recorded_ones(version: str) -> None:
    types = recorded_types(version)
    cases = rows(version)
    wrong: list[str] = []
    for row in cases:
        answer = report(api_format.parse(row["graph"]), types)
        faulty = faulty_nodes(answer)
        possible = [row["faulty"], *row["also"]]
        if answer.valid != row["valid"] or (row["faulty"] and faulty not in possible):
            wrong.append(f"{row['base']} ({row['mutation']}): {answer.valid}, {faulty} instead of {possible}")
    assert len(cases) > 130
    assert wrong == []


@pytest.mark.parametrize("version", node_types.SHIPPED)
def test_only_answers_that_change_from_start_to_start_differ_from_the_recorded_one(version: str) -> None:
    types = recorded_types(version)
    for row in rows(version):
        if row["faulty"] and not row["also"]:
            assert faulty_nodes(report(api_format.parse(row["graph"]), types)) == row["faulty"], row["base"]
