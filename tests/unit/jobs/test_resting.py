import asyncio

import pytest

from comfyops.jobs.hub import rest


async def test_a_rest_ends_with_a_wake_or_with_its_time():
    woken = asyncio.Event()
    await rest(woken, 0.01)
    asyncio.get_running_loop().call_soon(woken.set)
    async with asyncio.timeout(5):
        await rest(woken, 1000)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_at_the_moment_of_a_wake_is_not_lost(turns):
    woken = asyncio.Event()
    task = asyncio.create_task(rest(woken, 1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    woken.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    cancelled = task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() == cancelled
