"""The gateway's own routes are as their description says, and no request that fits it, or nearly, is too much."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.managing.app import application
from comfyops.gateway.managing.caller import House as Managed
from comfyops.gateway.serving import Listen, serving
from comfyops.gateway.settings import BackendAddress, GatewaySettings
from tests.unit.gateway.house import ROUNDS, add_token, house
from tests.unit.gateway.wire import listening_server

FILE = Path(__file__).parents[3] / "docs" / "gateway-openapi.json"
EXAMPLES = 200 if os.environ.get("COMFYOPS_TEST_ALL") == "1" else 4
OWN = json.loads(FILE.read_text())
EXACT = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """A gateway's address, the token of an administrator, and the description of the routes of managing."""
    async with listening_server() as (backend, _):
        listen = Listen(port=0)
        told = AuthSettings(bcrypt_rounds=ROUNDS)
        async with serving(GatewaySettings((BackendAddress(backend),)), told, tmp_path, listen) as gateway:
            store, kept = Store.at_home(tmp_path), AuditStore.at_home(tmp_path)
            with AuditLog(kept) as audit:
                described = application(Managed(store, audit, kept, told)).openapi()
            yield gateway.url, add_token(store, "admin", "administrator"), described
            store.close()


def ask_everything(url: str, description: dict[str, Any], headers: dict[str, str], checks: list[Any]) -> int:
    """Send what fits the description, and see that each answer passes the checks; how many answers."""
    asked = 0
    for found in schemathesis.openapi.from_dict(description).get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=url, headers=headers, checks=checks, allow_redirects=False, timeout=20)

        ask()
    return asked


async def test_every_own_route_is_described_and_every_described_one_is_there(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        there = {(method, path) for method, path in home.gateway._local.routes if method != "HEAD"}
    described = {(method.upper(), path) for path, methods in OWN["paths"].items() for method in methods}
    assert described == there


@pytest.mark.parametrize("known", [False, True], ids=["nobody", "an administrator"])
async def test_the_own_routes_answer_as_described(served: tuple[str, str, dict[str, Any]], known: bool) -> None:
    url, token, _ = served
    headers = {"Authorization": f"Bearer {token}"} if known else {}
    assert await asyncio.to_thread(ask_everything, url, OWN, headers, EXACT) >= len(OWN["paths"])


@pytest.mark.parametrize("known", [False, True], ids=["nobody", "an administrator"])
async def test_managing_takes_any_request_without_a_fault(served: tuple[str, str, dict[str, Any]], known: bool) -> None:
    url, token, description = served
    headers = {"Authorization": f"Bearer {token}"} if known else {}
    assert await asyncio.to_thread(ask_everything, url, description, headers, [not_a_server_error]) > 10
