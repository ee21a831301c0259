"""Following one run to its end: the websocket makes it quick, asking makes it sure.

    event   -> handed on
    hint    -> look at the server: at once when the run is said to be over, else not too often
    silence -> look at the server from time to time, replace the socket, and at last call the server stalled

A look that finds the run in the history ends the watch, whether the websocket said so or not.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from comfyops.backends.channel import Channel, Look
from comfyops.backends.events import Event, Finished
from comfyops.backends.feed import Feed
from comfyops.backends.lookup import Lookup, Place
from comfyops.errors import RunLostError, StalledError, UnreachableError


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a watch looks at the server, in seconds."""

    lively: float = 15.0  # between looks while the websocket tells of work
    quiet: float = 2.0  # without a word, after which to look although a websocket is open; grows up to `lively`
    blind: float = 0.2  # before the first look at a run of which the websocket does not tell; grows
    blind_most: float = 2.0  # and up to this
    hint: float = 1.0  # least time between looks that are caused by changes of the queue
    ending: float = 0.02  # before a look at a run that is said to have ended, but is not in the history yet; grows
    silence: float = 30.0  # without a word of a run that is at work, after which the socket is replaced
    away: float = 60.0  # that a server may be away before a watch gives up
    stop: float = 10.0  # that a cancelled run may take to stop


class Watch:
    """One watch of one run. `ours` = this client submitted it, so the websocket should tell of it; `fresh` =
    and all that was told since then waits in the feed.

    `stall_timeout` is in seconds. `stopped` gives the end of a run that this client itself took from the queue.
    """

    def __init__(
        self,
        run_id: str,
        feed: Feed,
        lookup: Lookup,
        pace: Pace,
        *,
        ours: bool,
        fresh: bool,
        stall_timeout: float,
        stopped: Callable[[str], Finished | None],
    ) -> None:
        now = time.monotonic()
        self._run_id = run_id
        self._feed = feed
        self._lookup = lookup
        self._pace = pace
        self._ours = ours
        self._stall_timeout = stall_timeout
        self._stopped = stopped
        self._looked = now
        self._due = now + pace.quiet if fresh else now
        self._wait = pace.blind
        self._quiet_wait = pace.quiet
        self._ending = False  # the run is said to have ended
        self._ending_wait = pace.ending
        self._head: tuple[str, ...] | None = None
        self._moved = now  # when the head of the queue last changed
        self._away_since: float | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Events, the last one Finished. Raises RunLostError, StalledError, UnreachableError."""
        with self._feed.listen(self._run_id) as channel:
            await self._feed.open()
            end = None
            while end is None:
                item = await channel.take(max(0.0, self._due - time.monotonic()))
                if item is None or isinstance(item, Look):
                    end = await self._react(item, channel)
                else:
                    yield item
            while (item := channel.take_now()) is not None:
                if not isinstance(item, Look):
                    yield item
            yield end

    async def _react(self, hint: Look | None, channel: Channel) -> Finished | None:
        now = time.monotonic()
        self._take_hint(hint, now)
        if now < self._due:
            return None
        try:
            place = await self._look(sure=hint is not None and hint.sure)
        except UnreachableError as error:
            self._bear(error)
            return None
        if self._away_since is not None:
            self._away_since = None
            self._feed.wake()
        return await self._judge(place, channel)

    def _take_hint(self, hint: Look | None, now: float) -> None:
        """Set when to look: sooner after a hint, later where the websocket told of work a moment ago."""
        if hint is None:
            heard = self._feed.alive + self._pace.quiet
            if self._feed.connected and self._ours and not self._ending and heard > now:
                self._due = max(self._due, min(heard, self._looked + self._pace.lively))
                self._quiet_wait = self._pace.quiet
        elif hint.sure:
            self._ending, self._due = True, now
        elif hint.ending:
            self._ending, self._due = True, min(self._due, now + self._ending_wait)
        else:
            self._due = min(self._due, max(now, self._looked + self._pace.hint))

    async def _look(self, *, sure: bool) -> Place:
        self._looked = time.monotonic()
        if sure:
            place = await self._lookup.history(self._run_id)
            if place.known:
                return place
        return await self._lookup.place(self._run_id)

    async def _judge(self, place: Place, channel: Channel) -> Finished | None:
        if place.finished is not None:
            if self._ours and not channel.heard:
                await self._feed.replace_if_silent(self._pace.hint)
            return place.finished
        if place.queued is None:
            return self._lost()
        self._check_head(place)
        if place.running and self._ours:
            await self._feed.replace_if_silent(self._pace.silence)
        self._plan(channel)
        return None

    def _plan(self, channel: Channel) -> None:
        """Set when to look next."""
        if self._ending:
            pause = self._ending_wait
            self._ending_wait = min(self._ending_wait * 2, self._pace.blind_most)
        elif self._feed.connected and (self._ours or channel.heard):
            pause = self._quiet_wait
            self._quiet_wait = min(self._quiet_wait * 1.5, self._pace.lively)
        else:
            pause = self._wait * random.uniform(0.75, 1.0)
            self._wait = min(self._wait * 1.5, self._pace.blind_most)
        self._due = time.monotonic() + min(pause, self._stall_timeout / 4)

    def _check_head(self, place: Place) -> None:
        """Raise StalledError where nothing moved at the head of the queue for too long."""
        now = time.monotonic()
        if place.head != self._head:
            self._head, self._moved = place.head, now
        quiet = now - max(self._moved, self._feed.alive)
        if quiet < self._stall_timeout:
            return
        what = f"the run {place.head[0]} at the head of its queue" if place.head else "its queue"
        raise StalledError(
            f"{self._feed.server} answers, but {what} has not moved for {quiet:.0f} seconds.",
            run_id=self._run_id,
            head=list(place.head),
            seconds=quiet,
        )

    def _bear(self, error: UnreachableError) -> None:
        """Wait for a server that is away, or give up."""
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since >= self._pace.away:
            raise error
        self._due = now + self._wait * random.uniform(0.75, 1.0)
        self._wait = min(self._wait * 1.5, self._pace.blind_most)

    def _lost(self) -> Finished:
        end = self._stopped(self._run_id)
        if end is None:
            raise lost(self._run_id)
        return end


def lost(run_id: str) -> RunLostError:
    """The error for a run that the server does not know."""
    return RunLostError(
        f"The server does not know the run {run_id}: it restarted, or the run was deleted there.",
        run_id=run_id,
    )
