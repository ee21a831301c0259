"""Hearing what other processes committed: LISTEN on PostgreSQL. On SQLite there is nothing to hear, only to look."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sqlalchemy.engine import URL

from comfyops.jobs.hub import Hub
from comfyops.jobs.writers import CHANNEL

_LONGEST_PAUSE = 10.0  # seconds between attempts to connect


async def listen(url: URL, origin: str, hub: Hub) -> None:
    """Pass on what others tell, until cancelled; a lost connection is made again, and everybody looks then."""
    import psycopg

    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    pause = 0.2
    while True:
        with contextlib.suppress(psycopg.Error, OSError):
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                pause = 0.2
                _look_everywhere(hub)
                async for notice in connection.notifies():
                    _pass_on(notice.payload, origin, hub)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _look_everywhere(hub: Hub) -> None:
    hub.look()
    hub.wake_all()


def _pass_on(payload: Any, origin: str, hub: Hub) -> None:
    sender, kind, name = (*str(payload).split(" ", 2), "", "")[:3]
    if sender == origin:
        return
    if kind == "job":
        hub.look(name)
    elif kind == "wake":
        hub.wake(name)
