"""What else breaks a real server: harmless by default, faithful on request."""

from __future__ import annotations

from tests.unit.simulator.client import SAVE_ONE, simulated


async def test_twins_are_harmless_by_default() -> None:
    twin = {"prompt": SAVE_ONE, "prompt_id": "00000000-0000-4000-8000-000000000001", "number": -1}
    async with simulated(seconds_per_node=0.1) as client:
        await client.submit(SAVE_ONE)
        await client.until(client.running)
        statuses = [await client.status("POST", "/prompt", json=twin) for _ in range(3)]
        assert statuses == [200, 200, 200]
        await client.run(SAVE_ONE)


async def test_socket_that_stops_reading_blocks_others_only_on_the_faithful_server() -> None:
    assert await _messages_despite_a_stuck_socket(faithful=False) > 0
    assert await _messages_despite_a_stuck_socket(faithful=True) == 0


async def _messages_despite_a_stuck_socket(*, faithful: bool) -> int:
    """How many messages a good socket gets while another one is blocked."""
    async with simulated(faithful_poison=faithful) as client:
        stuck, good = await client.socket("stuck"), await client.socket("good")
        await good.receive(5)
        machine = client.simulator.machine
        assert machine is not None
        stuck._response.connection.transport.pause_reading()
        filler = {"filler": "x" * 1_000_000}
        for _ in range(60):
            machine.sockets.publish_json("filler", filler, "stuck")
        machine.sockets.publish_json("hello", {}, "good")
        try:
            await good.receive(1)
        except TimeoutError:
            return 0
        finally:
            stuck._response.connection.transport.resume_reading()
        return 1
