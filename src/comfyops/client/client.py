"""The client of a gateway that keeps jobs."""

from __future__ import annotations

import itertools
import mimetypes
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from comfyops import config
from comfyops.backends.comfyui import ComfyUI
from comfyops.client.handles import BatchHandle, JobHandle
from comfyops.client.http import GatewayHttp
from comfyops.client.operators import Operators
from comfyops.client.uploading import upload
from comfyops.client.values import Batch, Health, Job, JobPage, Upload, items, pick
from comfyops.client.workflows import Preparer, Values, Workflow
from comfyops.errors import UsageError

_PAGE = 100  # jobs that are asked for at once


class JobOptions(TypedDict, total=False):
    """What may be said of a job beside its workflow.

    A smaller `priority` goes first. `delay`: seconds before it may begin; `deadline`: after it, it is not begun any
    more. `depends_on`: jobs that must have succeeded before. `webhook_url` is told when it is over. `needs_tags`:
    labels that its backend must have; `needs_vram_gb`: GiB of its device; `backend`: the only one that may run it.
    `labels` are one's own.
    """

    name: str
    priority: int
    delay: float | timedelta
    deadline: float | datetime
    depends_on: Sequence[str | JobHandle]
    webhook_url: str
    labels: Mapping[str, str]
    needs_tags: Sequence[str]
    needs_vram_gb: float
    backend: str
    extra_data: Mapping[str, Any]


class Client:
    """One gateway. Use as `async with Client(url, token=...) as client:`; methods may be called from many tasks.

    Without an address or token those of the settings are taken (COMFYUI_URL, COMFYOPS_TOKEN). `timeout` is in seconds,
    for one answer. `patience`: seconds for which a gateway that does not answer is asked again, wherever that is
    harmless; submitting is, by its key. Methods raise UnreachableError, LoginRequiredError, and UnsupportedError where
    no gateway that keeps jobs answers, beside what their own text names. Raises UsageError.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, timeout: float | None = None, patience: float = 60.0
    ) -> None:
        settings = config.override(config.load(), server=url, token=token, timeout=timeout)
        secret = settings.token.get_secret_value() if settings.token else None
        self._http = GatewayHttp(settings.server, token=secret, timeout=settings.timeout, patience=patience)
        self._server = ComfyUI(settings.server, token=secret, timeout=settings.timeout)
        self._preparer = Preparer(self._server, tuple(settings.library_folders))
        self._stack = AsyncExitStack()
        self.url = self._http.url
        self.operators = Operators(self._http)

    async def __aenter__(self) -> Client:
        await self._stack.enter_async_context(self._server)
        self._stack.push_async_callback(self._http.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def health(self, *, patiently: bool = True) -> Health:
        """Whether the gateway takes jobs and carries them out; asked once only unless `patiently`."""
        return pick(Health, await self._http.ask("GET", "/api/v2/health", again=patiently))

    async def graph(self, workflow: Workflow, inputs: Values | None = None) -> dict[str, Any]:
        """The JSON of the graph that `submit` would send; files among the values are uploaded. Raises as it."""
        (found,) = await self._preparer.graphs(workflow, [inputs or {}])
        return found

    async def submit(
        self,
        workflow: Workflow,
        *,
        inputs: Values | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle:
        """Have the gateway accept a job, durably; sent again until there is an answer, and accepted once.

        The same `idempotency_key` with the same request gives the same job, at any time within two days; without one,
        each call is a job of its own. Raises RejectedError, NoBackendError, DuplicateKeyError, QueueFullError,
        DependencyError, UsageError, and what preparing the workflow raises (see `Preparer.graphs`).
        """
        graph = await self.graph(workflow, inputs)
        data, replayed = await self._accept("/api/v2/jobs", _body(graph, options), idempotency_key)
        job = Job.of(data)
        return JobHandle(self._http, job.id, job, replayed=replayed)

    async def batch(
        self,
        workflow: Workflow,
        *,
        prompts: Iterable[str] | None = None,
        seeds: Iterable[int] | None = None,
        table: Iterable[Values] | None = None,
        inputs: Values | None = None,
        batch_name: str = "",
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> BatchHandle:
        """Have many jobs of one workflow accepted as one, all or none: one for each row of a table of values, or one
        for each prompt with each seed. `inputs` are set in all. Raises as `submit`."""
        rows = [{**(inputs or {}), **row} for row in _rows(prompts, seeds, table)]
        graphs = await self._preparer.graphs(workflow, rows)
        body = {"jobs": [_body(graph, options) for graph in graphs], "name": batch_name}
        data, _ = await self._accept("/api/v2/batches", body, idempotency_key)
        return BatchHandle(self._http, Batch.of(data))

    def job(self, job_id: str) -> JobHandle:
        """The job of this id; nothing is asked yet."""
        return JobHandle(self._http, job_id)

    async def get_batch(self, batch_id: str) -> BatchHandle:
        """The batch of this id. Raises UnknownJobError."""
        found = BatchHandle(self._http, Batch(batch_id, "", "", (), {}, False))
        await found.look()
        return found

    async def page(
        self,
        *,
        status: str | None = None,
        batch: str | None = None,
        labels: Mapping[str, str] | None = None,
        everybody: bool = False,
        limit: int = _PAGE,
        cursor: str | None = None,
    ) -> JobPage:
        """Some of one's jobs, newest first, at most 100; with `everybody` others' too, for who may see them.

        `status` is one, or several with commas. Raises UsageError.
        """
        wanted = {"status": status, "batch": batch, "cursor": cursor, "limit": str(limit)}
        params = {name: value for name, value in wanted.items() if value is not None}
        params |= {f"metadata[{key}]": value for key, value in (labels or {}).items()}
        params |= {"everybody": "true"} if everybody else {}
        found = await self._http.ask("GET", "/api/v2/jobs", params=params)
        return JobPage(tuple(map(Job.of, items(found, "jobs"))), found.get("next_cursor"))

    async def jobs(self, limit: int | None = None, **which: Any) -> AsyncIterator[Job]:
        """One's jobs, newest first, `limit` at most; `which` is as `page` takes it."""
        cursor, left = None, limit
        while left is None or left > 0:
            page = await self.page(limit=min(_PAGE, left or _PAGE), cursor=cursor, **which)
            for job in page.jobs:
                yield job
            left = None if left is None else left - len(page.jobs)
            cursor = page.cursor
            if cursor is None:
                return

    async def upload(self, file: Path | str | bytes, *, name: str | None = None) -> Upload:
        """Have the gateway keep a file, for inputs of jobs; bytes that it has already are not sent.

        `bytes` need a name. Raises MissingFileError, IntegrityError, UsageError, RejectedError where it is too large.
        """
        if isinstance(file, bytes) and not name:
            raise UsageError("Bytes need a name to be kept under.")
        kept = name or Path(str(file)).name
        mime = mimetypes.guess_type(kept)[0] or "application/octet-stream"
        return await upload(self._http, file if isinstance(file, bytes) else Path(file), kept, mime)

    async def _accept(self, route: str, body: dict[str, Any], key: str | None) -> tuple[Any, bool]:
        """The answer to a request that is accepted once, and whether it is that to an earlier one."""
        headers = {"Idempotency-Key": key or str(uuid4())}

        async def once() -> tuple[Any, bool]:
            async with self._http.request("POST", route, json=body, headers=headers) as response:
                return await response.json(content_type=None), "Idempotency-Replayed" in response.headers

        found, replayed = await self._http.insisting(once)
        return found, replayed and key is not None


def _body(graph: Mapping[str, Any], options: JobOptions) -> dict[str, Any]:
    """A job as the gateway takes it."""
    found: dict[str, Any] = {"workflow": graph, **options}
    if "labels" in options:
        found["metadata"] = dict(found.pop("labels"))
    if isinstance(delay := options.get("delay"), timedelta):
        found["delay"] = delay.total_seconds()
    if isinstance(deadline := options.get("deadline"), datetime):
        found["deadline"] = deadline.timestamp()
    if "depends_on" in options:
        found["depends_on"] = [job.id if isinstance(job, JobHandle) else job for job in options["depends_on"]]
    if "needs_tags" in options:
        found["needs_tags"] = list(options["needs_tags"])
    return found


def _rows(
    prompts: Iterable[str] | None, seeds: Iterable[int] | None, table: Iterable[Values] | None
) -> list[dict[str, object]]:
    """The values of each job. Raises UsageError."""
    if table is not None and (prompts is not None or seeds is not None):
        raise UsageError("Give either a table, or prompts and seeds.")
    if table is not None:
        rows = [dict(row) for row in table]
    else:
        texts = [{}] if prompts is None else [{"prompt": text} for text in prompts]
        numbers = [{}] if seeds is None else [{"seed": seed} for seed in seeds]
        rows = [{**text, **number} for text, number in itertools.product(texts, numbers)]
    if not rows or not all(rows):
        raise UsageError("A batch needs prompts, seeds or a table with at least one row and one column.")
    return rows
