"""The client for a ComfyUI server, 0.8 to 0.33, or for anything that answers as one."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakValueDictionary

from comfyops.backends import answers, model_files, saved
from comfyops.backends.backend import JobSummary, QueuedRun, SystemStats
from comfyops.backends.events import Event, Finished, Outcome, Output, OutputKind, Queued
from comfyops.backends.feed import Feed
from comfyops.backends.files import Download, ServerFiles
from comfyops.backends.http import Http
from comfyops.backends.lookup import Lookup
from comfyops.backends.model_files import ServerModel
from comfyops.backends.submitting import Submitter, checked_run_id
from comfyops.backends.watching import Pace, Watch, lost
from comfyops.errors import NodeFactsError, NotComfyUIError, UnsupportedError, WaitTimeoutError
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes, from_object_info

_KNOWN: WeakValueDictionary[str, NodeTypes] = WeakValueDictionary()
"""By version, the node types that were read last by any client of this process, which the next ones share."""

_REMEMBERED = 4096  # run ids that a client remembers as its own, and as taken from the queue


class ComfyUI:
    """One ComfyUI server; implements `Backend`. Use as `async with ComfyUI(url) as server:`, or `close` it.

    `token` is sent as `Authorization: Bearer`, `api_prefix` is put before every route, `timeout` and `stall_timeout`
    are seconds (see `config.Settings`). `preview_method`, such as "latent2rgb", asks for previews of unfinished
    pictures from a server that does not send them by itself. Raises UsageError for an address or token that cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        api_prefix: str = "",
        timeout: float = 30.0,
        stall_timeout: float = 600.0,
        client_id: str | None = None,
        preview_method: str = "",
        pace: Pace | None = None,
    ) -> None:
        self._http = Http(url, token=token, api_prefix=api_prefix, timeout=timeout)
        self.url = self._http.url
        self.client_id = client_id or uuid4().hex
        self._stall_timeout = stall_timeout
        self._pace = pace or Pace()
        self._lookup = Lookup(self._http)
        self._feed = Feed(self._http, self.client_id)
        self._files = ServerFiles(self._http)
        extra_data = {"preview_method": preview_method} if preview_method else {}
        self._submitter = Submitter(self._http, self._lookup, self.client_id, extra_data)
        self._types: NodeTypes | None = None
        self._types_lock = asyncio.Lock()
        self._jobs_can_cancel = True
        self._ours: OrderedDict[str, None] = OrderedDict()
        self._stopped: OrderedDict[str, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"ComfyUI({self.url!r})"

    async def __aenter__(self) -> ComfyUI:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Runs go on at the server."""
        await self._feed.close()
        await self._http.close()

    async def node_types(self, *, refresh: bool = False) -> NodeTypes:
        """See `Backend.node_types`."""
        async with self._types_lock:
            version = (await self.system_stats()).version
            if refresh or self._types is None or self._types.version != version:
                self._types = await self._read_node_types(version)
            return self._types

    async def system_stats(self) -> SystemStats:
        """See `Backend.system_stats`."""
        return answers.system_stats(await self._http.get("/system_stats"))

    async def submit(
        self,
        graph: Graph,
        *,
        run_id: str | None = None,
        front: bool = False,
        extra_data: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> Queued:
        """See `Backend.submit`. `extra_data` is kept by the server beside the job; its `client_id` is this client's.

        `fresh` = the caller is sure that this id was never sent, so that the server need not be asked.
        """
        if run_id is None:
            return await self._send(graph, str(uuid4()), front, extra_data)
        async with self._submitter.one_at_a_time(checked_run_id(run_id)):
            found = None if fresh else await self._submitter.find(run_id)
            return found or await self._send(graph, run_id, front, extra_data)

    async def watch(self, run_id: str) -> AsyncIterator[Event]:
        """See `Backend.watch`."""
        watch = Watch(
            run_id,
            self._feed,
            self._lookup,
            self._pace,
            ours=run_id in self._ours,
            fresh=self._feed.expects(run_id),
            stall_timeout=self._stall_timeout,
            stopped=self._end_of_stopped,
        )
        async for event in watch.events():
            yield event

    async def run(self, graph: Graph, *, run_id: str | None = None, front: bool = False) -> AsyncIterator[Event]:
        """See `Backend.run`."""
        queued = await self.submit(graph, run_id=run_id, front=front)
        yield queued
        async for event in self.watch(queued.run_id):
            yield event

    async def result(self, run_id: str) -> Finished | None:
        """See `Backend.result`."""
        place = await self._lookup.place(run_id)
        if place.known:
            return place.finished
        end = self._end_of_stopped(run_id)
        if end is None:
            raise lost(run_id)
        return end

    async def cancel(self, run_id: str) -> bool:
        """See `Backend.cancel`. Looks after asking: a run may start, or end by itself, in between."""
        give_up = time.monotonic() + self._pace.stop
        asked_while: bool | None = None
        pause = 0.01
        while True:
            place = await self._lookup.place(run_id)
            if place.finished is not None:
                return asked_while is not None and place.finished.outcome is Outcome.INTERRUPTED
            if place.queued is None:
                self._feed.nudge(run_id)
                return asked_while is not None
            if time.monotonic() > give_up:
                raise WaitTimeoutError(
                    f"The server was asked to stop the run {run_id}, but its node goes on after {self._pace.stop:g} s.",
                    hint="A server stops between nodes and sampling steps; look again later with `comfyops jobs ls`.",
                    run_id=run_id,
                )
            if asked_while is not place.running:
                asked_while = place.running
                _remember(self._stopped, run_id)
                await self._ask_to_stop(run_id, running=place.running)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)

    async def queue(self) -> tuple[QueuedRun, ...]:
        """See `Backend.queue`."""
        return await self._lookup.queue()

    async def jobs(self, limit: int = 50) -> tuple[JobSummary, ...]:
        """See `Backend.jobs`. Servers without the jobs API are asked for their queue and a part of their history."""
        limit = max(1, limit)
        order = {"limit": str(limit), "sort_by": "created_at", "sort_order": "desc"}
        try:
            return answers.jobs(await self._http.get("/api/jobs", order))
        except UnsupportedError:
            queue = await self._lookup.queue()
            past = answers.history_jobs(await self._http.get("/history", {"max_items": str(limit)}))
        words = {True: "in_progress", False: "pending"}
        present = [JobSummary(run.run_id, words[run.running], None, 0) for run in reversed(queue)]
        return tuple([*present, *past][:limit])

    async def upload_image(self, name: str, data: bytes | Path, *, subfolder: str = "", overwrite: bool = False) -> str:
        """See `Backend.upload_image`."""
        return await self._files.upload_image(name, data, subfolder, overwrite)

    async def input_size(self, name: str, subfolder: str) -> int | None:
        """How many bytes a file of the server's input folder has, None where it is not there."""
        return await self._files.size(Output("", OutputKind.OTHER, name, subfolder, "input"))

    async def upload_mask(self, name: str, data: bytes, original: Output) -> str:
        """See `Backend.upload_mask`."""
        return await self._files.upload_mask(name, data, original)

    async def fetch(self, output: Output) -> bytes:
        """See `Backend.fetch`."""
        return await self._files.fetch(output)

    async def fetch_to(self, output: Output, path: Path) -> None:
        """See `Backend.fetch_to`."""
        await self._files.fetch_to(output, path)

    def download(self, output: Output) -> AbstractAsyncContextManager[Download]:
        """An output file as it comes. Raises OutputGoneError, also while it is read."""
        return self._files.download(output)

    async def is_still(self, output: Output, mark: str) -> bool:
        """Whether the file is there as it was when a download of it had this mark. False where nobody can tell."""
        return await self._files.is_still(output, mark)

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """See `Backend.free`. Asked twice: a server that goes idle at the wrong moment overlooks the first time."""
        wish = {"unload_models": unload_models, "free_memory": free_memory}
        await self._http.post("/free", wish)
        await asyncio.sleep(0.05)
        await self._http.post("/free", wish)

    async def saved_workflows(self) -> tuple[str, ...]:
        """The names of the workflows that were saved on the server with its page; see `saved`."""
        return await saved.names(self._http)

    async def read_saved(self, name: str) -> bytes:
        """The bytes of one of these. Raises MissingFileError."""
        return await saved.read(self._http, name)

    async def model_files(self) -> tuple[ServerModel, ...]:
        """Every model file that the server has, with its size where it tells it."""
        return await model_files.read(self._http)

    async def _send(
        self, graph: Graph, run_id: str, front: bool, extra_data: Mapping[str, Any] | None = None
    ) -> Queued:
        await self._feed.open()
        self._feed.expect(run_id)
        try:
            queued = await self._submitter.send(graph, run_id, front=front, extra_data=extra_data)
        except BaseException:
            self._feed.forget(run_id)
            raise
        if queued.run_id != run_id:  # a server so old that it makes its own ids
            self._feed.forget(run_id)
        _remember(self._ours, queued.run_id)
        return queued

    async def _ask_to_stop(self, run_id: str, *, running: bool) -> None:
        if self._jobs_can_cancel:
            try:
                await self._http.post(f"/api/jobs/{quote(run_id, safe='')}/cancel", {})
                return
            except UnsupportedError:
                self._jobs_can_cancel = False
        if running:
            await self._http.post("/interrupt", {"prompt_id": run_id})
        else:
            await self._http.post("/queue", {"delete": [run_id]})

    def _end_of_stopped(self, run_id: str) -> Finished | None:
        """The end of a run that this client took from the queue; the server's history never has it."""
        return Finished(run_id, Outcome.INTERRUPTED, ()) if run_id in self._stopped else None

    async def _read_node_types(self, version: str) -> NodeTypes:
        facts = await self._http.json("GET", "/object_info", whole=False)
        try:
            types = from_object_info(facts, self.url, version=version)
            known = _KNOWN.get(version)
            _KNOWN[version] = types = types if known is None else await asyncio.to_thread(types.sharing, known)
            return types
        except NodeFactsError as error:
            raise NotComfyUIError(error.message) from error


def _remember(ids: OrderedDict[str, None], run_id: str) -> None:
    ids[run_id] = None
    while len(ids) > _REMEMBERED:
        ids.popitem(last=False)
