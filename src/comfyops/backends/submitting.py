"""Queueing a graph so that one run id is queued once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import aiohttp

from comfyops.backends import answers
from comfyops.backends.events import Queued
from comfyops.backends.http import Http
from comfyops.backends.lookup import Lookup
from comfyops.errors import BackendError, NotComfyUIError, RejectedError, UnreachableError, UsageError
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph

_RETRY_PAUSES = (0.1, 0.4, 1.5)  # seconds between looks for a run whose POST got no answer


class Submitter:
    """Sends POST /prompt for one client id. `extra_data` goes with every graph."""

    def __init__(self, http: Http, lookup: Lookup, client_id: str, extra_data: Mapping[str, Any]) -> None:
        self._http = http
        self._lookup = lookup
        self._client_id = client_id
        self._extra_data = dict(extra_data)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def one_at_a_time(self, run_id: str) -> asyncio.Lock:
        """The lock for this id: of two submits with it at once, the second finds the first one's run."""
        return self._locks.setdefault(run_id, asyncio.Lock())

    async def find(self, run_id: str) -> Queued | None:
        """The run as the server knows it, None where it does not."""
        place = await self._lookup.place(run_id)
        return Queued(run_id, place.number) if place.known else None

    async def send(
        self, graph: Graph, run_id: str, *, front: bool, extra_data: Mapping[str, Any] | None = None
    ) -> Queued:
        """Queue the graph. It is sent once; where the answer is lost, the server is asked whether it has the run.

        Raises RejectedError, and UnreachableError where nobody can tell.
        """
        try:
            answer = await self._http.json(
                "POST", "/prompt", data=self._body(graph, run_id, front, extra_data or {}), headers=_JSON
            )
            return answers.queued(answer, run_id)
        except RejectedError as error:
            if error.facts.get("status") != 500:
                raise answers.rejection(error.facts["body"]) if error.facts.get("body") else error from error
            return await self._resolve(run_id, _refused_with_500(error))
        except (UnreachableError, NotComfyUIError) as error:
            if isinstance(error.__cause__, aiohttp.ClientConnectorError) or error.facts.get("status", 500) < 500:
                raise
            return await self._resolve(run_id, error)

    def _body(self, graph: Graph, run_id: str, front: bool, extra_data: Mapping[str, Any]) -> bytes:
        prompt = api_format.dump(graph)
        for node in prompt.values():
            node.setdefault("_meta", {})  # 0.33 fails with 500 on a replaced class without it
        body: dict[str, Any] = {"prompt": prompt, "client_id": self._client_id, "prompt_id": run_id}
        if front:
            body["front"] = True
        if self._extra_data or extra_data:
            body["extra_data"] = {**self._extra_data, **extra_data}
        return json.dumps(body, separators=(",", ":")).encode()

    async def _resolve(self, run_id: str, error: BackendError) -> Queued:
        """The run if it was queued in spite of the error, else raise the error with the fact `run_id`."""
        for pause in _RETRY_PAUSES:
            try:
                found = await self.find(run_id)
            except UnreachableError:
                found = None
            if found is not None:
                return found
            if isinstance(error, RejectedError):
                break
            await asyncio.sleep(pause)
        error.facts["run_id"] = run_id
        raise error


_JSON = {"Content-Type": "application/json"}


def checked_run_id(run_id: str) -> str:
    """The id itself.

    Raises UsageError where it is no canonical lowercase UUID, the only form that servers take.
    """
    try:
        canonical: str | None = str(UUID(run_id))
    except (ValueError, AttributeError, TypeError):
        canonical = None
    if canonical != run_id:
        raise UsageError(
            f"{run_id!r} is not an id for a run: it must be a UUID in lowercase with hyphens.", run_id=run_id
        )
    return run_id


def _refused_with_500(error: RejectedError) -> RejectedError:
    return RejectedError(
        "The server failed on the workflow with 500 instead of an answer: a node is malformed or breaks its checks.",
        **error.facts,
    )
