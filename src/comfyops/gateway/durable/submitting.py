"""POST /prompt into the durable queue."""

from __future__ import annotations

import hashlib
from typing import Any

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import ComfyOpsError, DuplicateKeyError, QueueError, QueueFullError, StorageError, UsageError
from comfyops.gateway import prompts
from comfyops.gateway.admission import Admission
from comfyops.gateway.durable.sockets import DurableSockets
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.prompts import Request
from comfyops.gateway.refusal import RefusedError, duplicate
from comfyops.jobs import output_names
from comfyops.jobs.job import Accepted, Submission
from comfyops.jobs.queue import Queue
from comfyops.workflows.graph import Graph

_LONGEST_KEY = 255


class DurableSubmitting:
    """Takes jobs as ComfyUI does, with its answers."""

    def __init__(self, queue: Queue, admission: Admission, sockets: DurableSockets) -> None:
        self._queue = queue
        self._admission = admission
        self._sockets = sockets

    async def submit(self, exchange: Exchange, principal: Principal) -> None:
        """POST /prompt. With the header Idempotency-Key, the same request again gives the same job."""
        body = await exchange.body(exchange.limits.prompt_bytes)
        request = prompts.read(body, exchange.limits)
        graph = await self._with_outputs(_wanted(request), principal.id)
        verdict = await self._admission.judge(request, principal)
        key = exchange.first(b"idempotency-key").decode("latin-1") or None
        if key is not None and len(key) > _LONGEST_KEY:
            raise RefusedError(400, "invalid_key", f"The Idempotency-Key is longer than {_LONGEST_KEY} characters.")
        submission = Submission(
            graph,
            id=request.job,
            idempotency_key=key,
            request_hash=hashlib.sha256(body).hexdigest() if key else "",
            priority=_priority(request, principal),
            client_id=request.client,
            extra_data=_extra_data(request, exchange.first(b"comfy-usage-source").decode("latin-1")),
        )
        accepted = await self._accept(submission, principal, request.graph if graph is request.raw else None)
        errors = prompts.node_errors(verdict) if verdict is not None else {}
        answer = {"prompt_id": accepted.job.id, "number": accepted.job.number, "node_errors": errors}
        await exchange.json(200, answer, [(b"idempotency-replayed", b"true")] if accepted.replayed else None)

    async def _accept(self, submission: Submission, principal: Principal, graph: Graph | None) -> Accepted:
        new, job = False, submission.id or ""
        told = self._sockets.expect(principal.id, submission.client_id, job)  # it may begin before `submit` returns
        try:
            accepted = await self._queue.submit(submission, principal.id, graph)
            new = not accepted.replayed
            return accepted
        except QueueFullError as error:
            wait = max(1, round(float(error.facts.get("retry_after", 1))))
            raise RefusedError(429, "too_many_jobs", error.message, retry_after=wait) from error
        except DuplicateKeyError as error:
            raise RefusedError(422, error.code, error.message) from error
        except (UsageError, QueueError) as error:
            raise refusal(error) from error
        finally:
            for socket in () if new else told:
                socket.forget(job)

    async def _with_outputs(self, graph: dict[str, Any], owner: str) -> dict[str, Any]:
        """The graph with references in place of names of this owner's outputs."""
        found = output_names.outputs_named(graph)
        if not found:
            return graph
        outputs = await self._queue.outputs_of(list({job for job, _, _ in found.values()}))
        changed = dict(graph)
        for (node, name), (job, subfolder, filename) in found.items():
            await self._must_own(job, owner)
            places = [(output.subfolder, output.filename) for output in outputs[job]]
            if (subfolder, filename) not in places:
                raise RefusedError(400, "no_such_output", f"Node {node}: {name} names no output of that job.")
            reference = {"$output": {"job": job, "index": places.index((subfolder, filename))}}
            changed[node] = {**changed[node], "inputs": {**changed[node]["inputs"], name: reference}}
        return changed

    async def _must_own(self, job: str, owner: str) -> None:
        try:
            await self._queue.get(job, owner)
        except QueueError as error:
            raise RefusedError(403, "not_your_file", "The graph names a file that is not yours.") from error


def refusal(error: ComfyOpsError) -> RefusedError:
    """What a client is told of an error of the queue."""
    if isinstance(error, StorageError) or error.code == "database":
        return RefusedError(503, error.code, "The queue cannot use its records now.")
    if error.code == "usage" and "job" in error.facts:
        return duplicate()
    return RefusedError(404 if error.code == "unknown_job" else 400, error.code, error.message)


def _wanted(request: Request) -> dict[str, Any]:
    """The graph, or what the wanted outputs need of it."""
    if request.targets is None:
        return request.raw
    needed = request.graph.upstream([target for target in request.targets if target in request.graph.nodes])
    return {node: content for node, content in request.raw.items() if node in needed}


def _priority(request: Request, principal: Principal) -> int:
    ahead = request.front or (request.number is not None and request.number < 0)
    return -1 if ahead and principal.may(scopes.JOBS_ALL) else 0


def _extra_data(request: Request, source: str) -> dict[str, Any]:
    """What the client says beside the graph; `source` is the header by which a program says what it is."""
    extra = {name: value for name, value in request.extra.items() if name != "client_id"}
    return {"comfy_usage_source": source, **extra} if source else extra
