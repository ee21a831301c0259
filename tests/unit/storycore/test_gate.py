from __future__ import annotations

import asyncio

from comfyops.storycore.gate import Gate


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_highest_priority_goes_first_then_who_came_first():
    gate, order = Gate(), []
    first_is_in, leave = asyncio.Event(), asyncio.Event()

    async def use(name: str, priority: int) -> None:
        async with gate.turn(priority):
            order.append(name)
            if name == "first":
                first_is_in.set()
                await leave.wait()

    tasks = [asyncio.create_task(use("first", 1))]
    await first_is_in.wait()
    tasks += [asyncio.create_task(use(*who)) for who in [("low", 1), ("high", 10), ("middle", 5), ("later", 5)]]
    await settle()
    assert gate.waiting == 4
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "high", "middle", "later", "low"]
    assert gate.waiting == 0


async def test_never_more_at_a_time_than_allowed():
    gate, inside, most = Gate(2), 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with gate.turn(5):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(use() for _ in range(20)))
    assert most == 2


async def test_one_that_gives_up_waiting_does_not_block_the_rest():
    gate = Gate()
    async with gate.turn(5):
        waiting = asyncio.create_task(_pass(gate))
        gone = asyncio.create_task(_pass(gate))
        await settle()
        gone.cancel()
        await settle()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(_pass(gate), 5)


async def test_one_cancelled_as_its_turn_comes_passes_it_on():
    gate = Gate()
    async with gate.turn(5):
        gone, next_one = asyncio.create_task(_pass(gate)), asyncio.create_task(_pass(gate))
        await settle()
    gone.cancel()
    await asyncio.wait_for(next_one, 5)
    await asyncio.wait_for(_pass(gate), 5)


async def _pass(gate: Gate) -> None:
    async with gate.turn(5):
        await asyncio.sleep(0)
