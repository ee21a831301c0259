"""Comfy API v2 against its own description: whatever is asked, the answer is one that was described."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.unit.api.rig import picture, rig

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
_BY_ITSELF = "/api/v2/jobs/{job_id}/events"  # a stream; tests of its own hold it


@dataclass(frozen=True)
class Api:
    """The API on a port, with requests as somebody who has a job and an asset."""

    url: str

    def job(self) -> str:
        """A new job, not begun."""
        answer = requests.post(f"{self.url}/jobs", json={"workflow": picture()}, timeout=20)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def asset(self) -> str:
        """A new asset."""
        files = {"file": ("a.png", b"bytes", "image/png")}
        answer = requests.post(f"{self.url}/assets", files=files, data={"file_path": "a.png"}, timeout=20)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("v2")
    ready, done = threading.Event(), threading.Event()
    found: list[str] = []

    def serve() -> None:
        asyncio.run(_serve(folder, found, ready, done))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(20)
        yield Api(f"{found[0]}/api/v2")
    finally:
        done.set()
        thread.join(20)


async def _serve(folder: Path, found: list[str], ready: threading.Event, done: threading.Event) -> None:
    async with rig(folder, dispatch=False) as made:
        found.append(made.url)
        ready.set()
        await asyncio.to_thread(done.wait)


def test_no_request_breaks_it(api: Api) -> None:
    described = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    tried = []
    for found in described.get_all_operations():
        operation = found.ok()
        if operation.path != _BY_ITSELF:
            tried.append(operation.path)
            _try(operation.as_strategy(), api)
    assert {"/api/v2/jobs", "/api/v2/jobs/{job_id}/cancel", "/api/v2/assets", "/api/v2/health"} <= set(tried)


def _try(strategy: Any, api: Api) -> None:
    real = {"job_id": api.job(), "asset_id": api.asset()}

    @settings(max_examples=100 if WHOLE else 6, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategy, known=st.booleans())
    def run(case: Any, known: bool) -> None:
        for name in case.path_parameters if known else ():
            case.path_parameters[name] = real.get(name, case.path_parameters[name])
        checks = [not_a_server_error, response_schema_conformance, status_code_conformance]
        case.call_and_validate(checks=checks, timeout=20)

    run()
