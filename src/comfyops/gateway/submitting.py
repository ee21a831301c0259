"""POST /prompt: from a client's words to a job that a server can stand, in its owner's name."""

from __future__ import annotations

import re

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import BackendError
from comfyops.gateway import prompts
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.own import Own
from comfyops.gateway.owners import File, Owners
from comfyops.gateway.prompts import Request
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.server import Server
from comfyops.gateway.settings import GatewaySettings
from comfyops.gateway.sockets import client_name
from comfyops.workflows.checks.server import Verdict
from comfyops.workflows.graph import Graph

_ANNOTATED = re.compile(r"(.*?)\s*\[(input|output|temp)\]\s*", re.DOTALL)
_LONGEST_NAME = 400  # characters; longer texts are no file names
_DUPLICATE = RefusedError(409, "duplicate_prompt_id", "A job of this prompt_id was sent before.")
_STALE = frozenset({"value_not_in_list", "missing_node_type", "invalid_prompt", "custom_validation_failed"})


class Submitting:
    """Takes jobs."""

    def __init__(self, settings: GatewaySettings, owners: Owners) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._owners = owners
        self._active: dict[str, set[str]] = {}

    async def submit(self, exchange: Exchange, principal: Principal, server: Server) -> None:
        """Check a job and pass it on. Raises RefusedError."""
        request = prompts.read(await exchange.body(self._limits.prompt_bytes), self._limits)
        prompts.permit(request.graph, self._settings.classes.get(principal.role))
        everything = principal.may(scopes.JOBS_ALL)
        if not everything:
            await self._check_files(request.graph, Own(server, self._owners, principal.id))
        verdict = await self._judge(request, server)
        if not verdict.accepted:
            prompts.refuse(verdict)
        prompts.permit(verdict.graph, self._settings.classes.get(principal.role))  # classes may have been replaced
        active = self._count(principal.id, server)
        if request.job in active:
            raise _DUPLICATE
        active.add(request.job)
        if not await self._claimed(request.job, principal.id, server, active):
            raise _DUPLICATE
        turn = server.turns.take(principal.id)
        body = prompts.written(request, client_name(principal.id, request.client), ahead=everything, turn=turn)
        await self._send(exchange, server, request.job, body, active)

    async def _claimed(self, job: str, owner: str, server: Server, active: set[str]) -> bool:
        made = False
        try:
            made = await self._owners.claim(job, owner, server.address.url)
        finally:
            if not made:
                active.discard(job)
        return made

    async def _send(self, exchange: Exchange, server: Server, job: str, body: bytes, active: set[str]) -> None:
        headers = [(b"content-type", b"application/json")]
        try:
            answer = await server.upstream.send("POST", b"/prompt", headers, body)
        except BackendError:
            active.discard(job)  # it may have arrived; the id stays its owner's
            raise
        if answer.status != 200:
            self._owners.release(job)
            active.discard(job)
        if answer.status >= 500:
            answer.drop()
            raise RefusedError(502, "backend_failed", "The backend failed on this job.")
        await exchange.give_back(answer)

    async def _judge(self, request: Request, server: Server) -> Verdict:
        """The verdict by what the server has now: a file or node that was not there a minute ago may be."""
        verdict = prompts.judge(request, await server.types())
        if verdict.accepted or not _may_be_stale(verdict):
            return verdict
        return prompts.judge(request, await server.types(anew=True))

    def _count(self, owner: str, server: Server) -> set[str]:
        """The jobs of an owner that are not over. Raises RefusedError where there are too many."""
        active = self._active.setdefault(owner, set())
        if len(active) >= self._limits.jobs:
            active &= server.jobs
            if len(active) >= self._limits.jobs:
                words = f"You have {len(active)} jobs waiting or running, which is the limit."
                raise RefusedError(429, "too_many_jobs", words, retry_after=10)
        return active

    async def _check_files(self, graph: Graph, own: Own) -> None:
        """Refuse a workflow that reads a file of somebody else."""
        for node in graph:
            for name, value in (node.inputs or {}).items():
                if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
                    continue
                file, sure = _file(value, "output" if node.class_type == "LoadImageOutput" else "input")
                if not (await own.may_read(file) if sure else own.may_name(file)):
                    words = f"Node {node.id}: {name} names a file that is not yours."
                    raise RefusedError(403, "not_your_file", words, details=f"Node {node.id}")


def _file(value: str, kind: str) -> tuple[File, bool]:
    """The file that a text may name, and whether it surely is meant as one."""
    found = _ANNOTATED.fullmatch(value)
    sure = found is not None or kind == "output"
    if found is not None:
        value, kind = found[1], found[2]
    folder, _, name = value.replace("\\", "/").strip("/").rpartition("/")
    return File(kind, folder, name), sure


def _may_be_stale(verdict: Verdict) -> bool:
    faults = [fault.type for faults in verdict.node_faults.values() for fault in faults]
    return bool(_STALE.intersection([*faults, verdict.error.type if verdict.error else ""]))
