"""The routes that manage access against their own description: no request breaks them or says what it should not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from comfyops.auth import scopes
from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.principal import Principal
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.gateway.managing.app import application
from comfyops.gateway.managing.caller import House
from tests.unit.gateway.house import ROUNDS, add_user


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The routes, as somebody who has signed in and manages access reaches them."""
    folder = tmp_path_factory.mktemp("managing")
    store, kept = Store.at_home(folder), AuditStore.at_home(folder)
    add_user(store, "boss", "four words of nothing", "administrator")
    (user,) = store.users.all()
    boss = Principal(user.id, "boss", "administrator", scopes.ROLES["administrator"], "user", "ses_1")
    with AuditLog(kept) as audit:
        app = application(House(store, audit, kept, AuthSettings(bcrypt_rounds=ROUNDS)))

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            state = {**scope.get("state", {}), "principal": boss, "address": "127.0.0.1"}
            await app({**scope, "state": state}, receive, send)

        yield schemathesis.openapi.from_asgi("/openapi.json", behind)
    store.close()
    kept.close()


def judge(case: Any) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text
    assert f"$2b$0{ROUNDS}$" not in answer.text and answer.headers["cache-control"] == ["no-store"]
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["code"] and error["message"].endswith(".")


def test_no_request_breaks_it(described: Any) -> None:
    found = [result.ok() for result in described.get_all_operations()]
    assert len(found) > 15
    for operation in found:
        tried = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        tried(given(case=operation.as_strategy())(judge))()
