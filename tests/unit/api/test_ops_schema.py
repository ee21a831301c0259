"""The operators' API against its own description: whatever is asked, the answer is one that was described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from comfyops import app as parts
from comfyops import config
from comfyops.api.ops import app as ops
from comfyops.api.ops.backends import Backends, Target
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from tests.fake_comfyui import free_port
from tests.unit.api.operations import own_catalog

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
BOSS = Principal("own_1", "boss", "operator", scopes.ROLES["operator"], "token")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API as the gateway hands requests to it, offline, before a backend that does not answer."""
    folder = tmp_path_factory.mktemp("ops")
    own_catalog(folder / "home")
    chosen = config.override(config.load(), home=folder / "home", models_dir=folder, offline=True)
    shelf = parts.model_shelf(chosen)
    built = ops.build(Backends([Target(f"http://127.0.0.1:{free_port()}")]), shelf)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        state = {**scope.get("state", {}), "principal": BOSS}
        await built({**scope, "state": state}, receive, send)

    yield behind
    shelf.downloads.close()


def test_no_request_breaks_it(api: Any) -> None:
    described = schemathesis.openapi.from_asgi("/ops/openapi.json", api)
    tried = 0
    for found in described.get_all_operations():
        operation = found.ok()
        if operation.path in ("/ops/models/events", "/metrics"):  # one never ends, the other is no JSON
            continue
        if WHOLE or operation.method.upper() == "POST":
            tried += 1
            _try(operation.as_strategy())
    assert tried == (12 if WHOLE else 7)


def _try(strategy: Any) -> None:
    @settings(max_examples=50 if WHOLE else 3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategy)
    def run(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "hint", "details"}

    run()


async def test_without_an_operator_nothing_is_told() -> None:
    built = ops.build(Backends([]), None)
    for path in ("/ops/backends", "/ops/models/check", "/metrics"):
        assert await _status(built, path) == 403


async def _status(app: Any, path: str) -> int:
    """The status of a GET that nobody let in."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    line = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": ""}
    await app({**line, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}, receive, send)
    return int(sent[0]["status"])
