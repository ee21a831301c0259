"""Several owners at one server take turns, however many jobs each has sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyops.gateway.turns import Turns
from comfyops.simulator import SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import House, house

PEOPLE = (("ann", "artist"), ("bob", "artist"), ("cas", "artist"), ("op", "operator"))


async def submit(home: House, token: str, **fields: Any) -> str:
    status, answer = await home.ask(
        "POST", "/prompt", token, json={"prompt": api_format.dump(graphs.picture()), **fields}
    )
    assert status == 200 and answer["number"] == int(answer["number"]), answer
    return str(answer["prompt_id"])


async def order(home: House, operator: str) -> list[str]:
    """Ids of what waits, in the order in which it will run."""
    waiting = (await home.ask("GET", "/queue", operator))[1]["queue_pending"]
    return [item[1] for item in sorted(waiting, key=lambda item: item[0])]


async def seen(home: House, running: str) -> None:
    """Wait until the gateway has noticed what runs, which it looks for once a second."""
    async with asyncio.timeout(20):
        while home.gateway.servers[0].running != (running,):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_who_sends_one_job_does_not_wait_for_all_of_somebody_elses(tmp_path: Path) -> None:
    async with house(tmp_path, simulated=SimulatorSettings(port=0, seconds_per_node=60)) as home:
        ann, bob, cas, operator = (home.token(name, role) for name, role in PEOPLE)
        running, *hers = [await submit(home, ann) for _ in range(5)]
        await seen(home, running)
        his = [await submit(home, bob) for _ in range(2)]
        theirs = await submit(home, cas)
        taken = [hers[0], his[0], theirs, hers[1], his[1], *hers[2:]]
        assert await order(home, operator) == taken
        first = await submit(home, operator, front=True)
        assert await order(home, operator) == [first, *taken], "operators may say what comes first"


async def test_nobody_gets_ahead_by_a_number_of_their_own(tmp_path: Path) -> None:
    async with house(tmp_path, simulated=SimulatorSettings(port=0, seconds_per_node=60)) as home:
        ann, bob, _, operator = (home.token(name, role) for name, role in PEOPLE)
        running, first = await submit(home, ann), await submit(home, ann)
        await seen(home, running)
        pushed = [await submit(home, bob, number=-5), await submit(home, bob, front=True)]
        assert await order(home, operator) == [first, *pushed]


def run(turns: Turns, waiting: list[tuple[int, str]]) -> str:
    """Let the server take its next job; whose it is."""
    number, owner = min(waiting)
    waiting.remove((number, owner))
    turns.seen([number])
    return owner


@given(st.lists(st.one_of(st.sampled_from("abc"), st.just("run")), max_size=60))
def test_nobody_is_served_twice_while_somebody_waits_that_came_before(steps: list[str]) -> None:
    turns, waiting = Turns(), []
    passed: dict[str, dict[str, int]] = {}
    for step in steps:
        if step != "run":
            passed.setdefault(step, {})
            waiting.append((turns.take(step), step))
        elif waiting:
            served = run(turns, waiting)
            passed.pop(served, None)
            still = {owner for _, owner in waiting}
            passed = {owner: seen for owner, seen in passed.items() if owner in still}
            if served in still:
                passed.setdefault(served, {})
            for owner, seen in passed.items():
                if owner != served:
                    seen[served] = seen.get(served, 0) + 1
                    assert seen[served] <= 2, (owner, "waits for", served)


def test_a_gateway_that_begins_anew_goes_on_where_the_server_is() -> None:
    turns = Turns()
    numbers = [turns.take("a") for _ in range(5)]
    fresh = Turns()
    fresh.seen(numbers[2:3])
    assert numbers[3] < fresh.take("b") < numbers[4] or fresh.take("b") > numbers[3]
    assert fresh.take("c") < numbers[4]
    for odd in ([], [None, "x", float("inf"), float("nan"), -3.0], [5]):
        fresh.seen(odd)
    assert fresh.take("d") < numbers[4]
