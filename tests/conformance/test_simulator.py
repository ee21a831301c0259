"""The simulator answers what the recorded servers answered, but for the differences listed in `known`."""

from __future__ import annotations

import pytest

from tests.conformance.report import VERSIONS, names, tally


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in VERSIONS for name in names(version)])
async def test_simulator_answers_like_the_recorded_server(version: str, name: str) -> None:
    result = await tally(version, name)
    assert result.cases > 0
    assert result.unexplained == []
