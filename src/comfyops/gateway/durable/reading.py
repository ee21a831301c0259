"""Queue, history and jobs of an owner, from the durable queue."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from comfyops.errors import JobStateError, QueueError, UnknownJobError
from comfyops.gateway.durable import entries
from comfyops.gateway.durable.listing import QueueList
from comfyops.gateway.exchange import JSON, Exchange
from comfyops.gateway.prompts import is_job_id, read_json
from comfyops.gateway.refusal import RefusedError, not_found
from comfyops.jobs import told
from comfyops.jobs.job import ACTIVE, OVER, Filter, Job, JobState
from comfyops.jobs.queue import Queue
from comfyops.simulator.jobs import MODERN_STATUSES, sorted_jobs

_Show = Callable[..., dict[str, Any]]

_MOST = 1000
"""Most entries of one list."""

_STATES: dict[str, tuple[JobState, ...]] = {
    "pending": (JobState.WAITING,),
    "in_progress": ACTIVE,
    "completed": (JobState.DONE,),
    "failed": (JobState.FAILED, JobState.EXPIRED),
    "cancelled": (JobState.CANCELLED,),
}


class DurableReading:
    """What an owner sees of his jobs; the owner None sees everybody's."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._list = QueueList(queue)

    async def exec_info(self, exchange: Exchange, owner: str | None) -> None:
        """GET /prompt"""
        await exchange.json(200, {"exec_info": {"queue_remaining": await self._queue.under_way(owner)}})

    async def queue(self, exchange: Exchange, owner: str | None) -> None:
        """GET /queue"""
        await exchange.answer(200, await self._list.read(owner), [JSON, (b"cache-control", b"no-store")])

    async def history(self, exchange: Exchange, owner: str | None) -> None:
        """GET /history: the newest `max_items`, oldest of them first."""
        query = parse_qs(exchange.query.decode("latin-1"))
        limit, offset = _number(query, "max_items", _MOST), max(0, _number(query, "offset", 0))
        jobs = await self._whole(owner, OVER, limit=min(limit, _MOST), offset=offset, newest=True) if limit else []
        shown = await self._shown(jobs, entries.history_entry)
        await exchange.json(200, dict(reversed(shown.items())))

    async def history_entry(self, exchange: Exchange, owner: str | None) -> None:
        """GET /history/ID; empty for a job that is not over, as for one that never was."""
        job = await self._find(exchange.path.rpartition("/")[2], owner)
        if job is None or not job.state.over:
            await exchange.json(200, {})
            return
        await exchange.json(200, await self._shown([job], entries.history_entry))

    async def jobs(self, exchange: Exchange, owner: str | None) -> None:
        """GET /api/jobs"""
        query = parse_qs(exchange.query.decode("latin-1"))
        limit, offset = max(0, _number(query, "limit", 0)), max(0, _number(query, "offset", 0))
        by, order = query.get("sort_by", ["created_at"])[0], query.get("sort_order", ["desc"])[0]
        if by not in ("created_at", "execution_duration") or order not in ("asc", "desc"):
            raise RefusedError(400, "invalid_query", "The jobs are not sorted like that.")
        states = _wanted_states(query)
        if by == "created_at" and "workflow_id" not in query:
            page, total = await self._page(owner, states, limit, offset, newest=order == "desc")
        else:
            found = await self._whole(owner, states, newest=True)
            listed = list((await self._shown(found, entries.listed)).values())
            wanted = query.get("workflow_id", [None])[0]
            fitting = [item for item in listed if wanted is None or item.get("workflow_id") == wanted]
            page, total = sorted_jobs(fitting, by, order)[offset:], len(fitting)
            page = page[:limit] if limit else page
        place = {"offset": offset, "limit": limit or None, "total": total, "has_more": offset + len(page) < total}
        await exchange.json(200, {"jobs": page, "pagination": place})

    async def _page(
        self, owner: str | None, states: tuple[JobState, ...], limit: int, offset: int, *, newest: bool
    ) -> tuple[list[dict[str, Any]], int]:
        """A page by time of creation, of which no more is read than it shows; and how many jobs there are."""
        jobs = await self._whole(owner, states, limit=min(limit or _MOST, _MOST), offset=offset, newest=newest)
        counts = await self._queue.stats(owner)
        total = sum(count for state, count in counts.items() if not states or JobState(state) in states)
        return list((await self._shown(jobs, entries.listed)).values()), total

    async def job(self, exchange: Exchange, owner: str | None) -> None:
        """GET /api/jobs/ID"""
        job = await self._find(exchange.path.rpartition("/")[2], owner)
        if job is None:
            raise not_found()
        shown = await self._shown([job], functools.partial(entries.listed, detailed=True))
        await exchange.json(200, shown[job.id])

    async def _shown(self, jobs: list[Job], show: _Show) -> dict[str, dict[str, Any]]:
        """Each job as a function of `entries` shows it, in order."""
        ids, types = [job.id for job in jobs], self._queue.node_types()
        outputs = await self._queue.outputs_of(ids)
        said = await self._queue.store.read(lambda connection: told.read(connection, ids))
        return {job.id: show(job, outputs[job.id], said[job.id], types) for job in jobs}

    async def _find(self, text: str, owner: str | None) -> Job | None:
        if not is_job_id(text):
            return None
        try:
            return await self._queue.get(text, owner)
        except UnknownJobError:
            return None

    async def _whole(
        self,
        owner: str | None,
        states: tuple[JobState, ...],
        *,
        limit: int = _MOST,
        offset: int = 0,
        newest: bool = False,
    ) -> list[Job]:
        which = Filter(
            owner=owner, states=states, limit=limit, offset=offset, oldest_first=not newest, with_graphs=True
        )
        return list((await self._queue.ls(which)).jobs)


class DurableChanges:
    """What an owner does to his jobs."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def queue(self, exchange: Exchange, owner: str | None) -> None:
        """POST /queue: `clear` cancels every waiting job, `delete` those of a list that wait."""
        body = await _object(exchange)
        if body.get("clear"):
            await self._queue.cancel_waiting(owner)
        for job in _list(body, "delete"):
            await self._cancel(job, owner, (JobState.WAITING,))
        await exchange.answer(200)

    async def interrupt(self, exchange: Exchange, owner: str | None) -> None:
        """POST /interrupt: the running job of this id, without one every running job."""
        body = await _object(exchange)
        wanted = body.get("prompt_id")
        for job in [wanted] if wanted is not None else await self._ids(owner, ACTIVE):
            await self._cancel(job, owner, ACTIVE)
        await exchange.answer(200)

    async def history(self, exchange: Exchange, owner: str | None) -> None:
        """POST /history: `clear` forgets every job that is over, `delete` those of a list."""
        body = await _object(exchange)
        if body.get("clear"):
            await self._queue.delete_over(owner)
        for job in _list(body, "delete"):
            try:
                await self._queue.delete(job, owner)
            except (UnknownJobError, JobStateError):
                continue  # as ComfyUI: what is not in history is not complained about
        await exchange.answer(200)

    async def cancel(self, exchange: Exchange, owner: str | None) -> None:
        """POST /api/jobs/ID/cancel; a job that is over or unknown was not cancelled."""
        job = exchange.path.split("/")[2]
        await exchange.json(200, {"cancelled": await self._cancel(job, owner, (JobState.WAITING, *ACTIVE))})

    async def cancel_many(self, exchange: Exchange, owner: str | None) -> None:
        """POST /api/jobs/cancel"""
        jobs = _list(await _object(exchange), "job_ids")
        cancelled = [await self._cancel(job, owner, (JobState.WAITING, *ACTIVE)) for job in jobs]
        await exchange.json(200, {"cancelled": any(cancelled)})

    async def _cancel(self, job: object, owner: str | None, states: tuple[JobState, ...]) -> bool:
        """Ask that a job stops, where it is in one of these states."""
        if not is_job_id(job):
            return False
        try:
            if (await self._queue.get(str(job), owner)).state not in states:
                return False
            await self._queue.request_cancel(str(job), owner)
        except QueueError:
            return False
        return True

    async def _ids(self, owner: str | None, states: tuple[JobState, ...]) -> list[str]:
        page = await self._queue.ls(Filter(owner=owner, states=states, limit=_MOST))
        return [job.id for job in page.jobs]


async def _object(exchange: Exchange) -> dict[str, Any]:
    data = await exchange.body(exchange.limits.small_bytes)
    body = read_json(data, exchange.limits) if data.strip() else {}
    if not isinstance(body, dict):
        raise RefusedError(400, "invalid_body", "The body is no JSON object.")
    return body


def _list(body: dict[str, Any], name: str) -> list[str]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(is_job_id(item) for item in found):
        raise RefusedError(400, "invalid_body", f"`{name}` is no list of job ids.")
    return found


def _wanted_states(query: dict[str, list[str]]) -> tuple[JobState, ...]:
    words = [word for word in query.get("status", [""])[0].split(",") if word]
    if any(word not in MODERN_STATUSES for word in words):
        raise RefusedError(400, "invalid_query", f"The status is none of {', '.join(MODERN_STATUSES)}.")
    return tuple(state for word in words for state in _STATES[word])


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [""])[0]
    if not text:
        return default
    try:
        return max(-1, min(int(text), 2**31))
    except ValueError:
        raise RefusedError(400, "invalid_query", f"`{name}` is no whole number.") from None
