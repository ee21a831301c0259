"""The page on Comfy API v2 says what the description that programs read says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from comfyops.api.v2.app import PREFIX, build
from comfyops.auth.principal import Principal
from comfyops.jobs.queue import Queue

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
OF_THE_CONTRACT = {"workflow", "extra_data", "metadata"}


@pytest.fixture
async def described(tmp_path: Path) -> dict[str, Any]:
    async def admit(graph: Mapping[str, Any], who: Principal) -> None:
        """Everything."""

    async with Queue("", tmp_path) as queue:
        found: dict[str, Any] = build(queue, admit).openapi()
        return found


async def test_every_route_is_on_the_page(described: dict[str, Any]) -> None:
    there = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in described["paths"].items()
        for method in methods
    }
    assert set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE.read_text(), re.MULTILINE)) == there


async def test_every_field_of_a_job_is_on_the_page(described: dict[str, Any]) -> None:
    fields = set(described["components"]["schemas"]["JobRequest"]["properties"])
    own = PAGE.read_text().partition("## A job beyond the contract")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", own, re.MULTILINE)) == fields - OF_THE_CONTRACT
