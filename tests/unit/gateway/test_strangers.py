"""The record of who was refused: it cannot be filled from outside, and says where it leaves something out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfyops.auth.principal import Principal
from comfyops.gateway.strangers import MOST, Strangers
from tests.unit.gateway.house import house


class Lines(list[tuple[str, str]]):
    """Address and reason of each record; `now` is the time."""

    now = 0.0

    def __call__(self, action: str, principal: Principal | None = None, /, **said: Any) -> None:
        self.append((said["address"], said["reason"]))


def _refused(record: Strangers, address: str, times: int = MOST * 3, reason: str = "wrong") -> None:
    for _ in range(times):
        record("request", None, address=address, allowed=False, reason=reason)


def test_a_stranger_fills_no_record_and_the_last_line_says_so() -> None:
    lines = Lines()
    record = Strangers(lines, lambda: lines.now)
    _refused(record, "10.0.0.1")
    assert len(lines) == MOST and "not recorded" in lines[-1][1] and lines[-2][1] == "wrong"
    _refused(record, "10.0.0.1", 1, "another")
    _refused(record, "10.0.0.2", 1)
    assert lines[-2:] == [("10.0.0.1", "another"), ("10.0.0.2", "wrong")]
    lines.now = 61.0
    _refused(record, "10.0.0.1", 1)
    assert lines[-1] == ("10.0.0.1", "wrong") and len(lines) == MOST + 3


def test_neither_many_addresses_nor_those_of_one_network_fill_it() -> None:
    lines = Lines()
    record = Strangers(lines, lambda: 0.0)
    for number in range(MOST * 3):
        _refused(record, f"2001:db8::{number:x}", 1)
    assert len(lines) == MOST
    for number in range(1000):
        _refused(record, f"10.1.{number // 250}.{number % 250}", 5)
    assert len(lines) < MOST * 5 and len(record._seen) <= 51


def test_what_is_allowed_is_always_recorded() -> None:
    lines = Lines()
    record = Strangers(lines, lambda: 0.0)
    for _ in range(MOST * 3):
        record("request", None, address="10.0.0.1", allowed=True, reason="")
    assert len(lines) == MOST * 3


async def test_a_flood_of_wrong_tokens_leaves_a_bounded_record(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for _ in range(MOST + 20):
            assert (await home.ask("GET", "/queue", "nothing"))[0] == 401
        assert sum(not line.allowed for line in home.ledger.lines) == MOST
        token = home.token("ann", "viewer")
        for _ in range(MOST + 20):
            assert (await home.ask("POST", "/prompt", token, json={"prompt": {}}))[0] == 403
        assert sum(not line.allowed for line in home.ledger.lines) == MOST * 2 + 20  # who is known is always recorded
