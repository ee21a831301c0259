"""POST /prompt: from a client's words to a job that a server can stand, in its owner's name."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from typing import Any

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import NotComfyUIError
from comfyops.gateway import naming, prompts
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.own import Own
from comfyops.gateway.owners import Owners
from comfyops.gateway.prompts import Request
from comfyops.gateway.refusal import RefusedError, duplicate
from comfyops.gateway.server import Server
from comfyops.gateway.settings import GatewaySettings
from comfyops.gateway.sockets import client_name
from comfyops.support.threads import on_graph
from comfyops.workflows.checks.server import Verdict
from comfyops.workflows.graph import Node

_STALE = frozenset({"value_not_in_list", "missing_node_type", "invalid_prompt", "custom_validation_failed"})

_ANSWER = 16 * 1024 * 1024  # bytes of a server's answer to a job


class Submitting:
    """Takes jobs."""

    def __init__(self, settings: GatewaySettings, owners: Owners) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._owners = owners
        self._active: dict[str, dict[str, float]] = {}  # by owner: since when a server knows each job

    async def submit(self, exchange: Exchange, principal: Principal, server: Server) -> None:
        """Check a job and pass it on. Raises RefusedError."""
        request = prompts.read(await exchange.body(self._limits.prompt_bytes), self._limits)
        prompts.permit(request.graph, self._settings.classes.get(principal.role))
        everything = principal.may(scopes.JOBS_ALL)
        if not everything:
            own = Own(server, self._owners, principal.id)
            await naming.check_files(request.graph, own.may_read_folder, partial(_may_name, own))
        verdict = await self._judge(request, server)
        if not verdict.accepted:
            prompts.refuse(verdict)
        prompts.permit(verdict.graph, self._settings.classes.get(principal.role))  # classes may have been replaced
        active = self._count(principal.id, server)
        if request.job in active:
            raise duplicate()
        active[request.job] = math.inf
        if not await self._claimed(request.job, principal.id, server, active):
            raise duplicate()
        turn = server.turns.take(principal.id)
        body = prompts.written(request, client_name(principal.id, request.client), ahead=everything, turn=turn)
        await self._send(exchange, server, request.job, body, active)

    async def _claimed(self, job: str, owner: str, server: Server, active: dict[str, float]) -> bool:
        made = False
        try:
            made = await self._owners.claim(job, owner, server.address.url)
        finally:
            if not made:
                active.pop(job, None)
        return made

    async def _send(self, exchange: Exchange, server: Server, job: str, body: bytes, active: dict[str, float]) -> None:
        headers = [(b"content-type", b"application/json")]
        try:
            answer = await server.upstream.send("POST", b"/prompt", headers, body)
        except BaseException:
            active.pop(job, None)  # it may have arrived; the id stays its owner's
            raise
        active[job] = server.now()
        if answer.status != 200:
            self._owners.release(job)
            del active[job]
        if answer.status >= 500:
            answer.drop()
            raise RefusedError(502, "backend_failed", "The backend failed on this job.")
        if answer.status == 200:
            await exchange.json(200, _accepted(await answer.read(_ANSWER)))
        else:
            await exchange.give_back(answer)

    async def _judge(self, request: Request, server: Server) -> Verdict:
        """The verdict by what the server has now: a file or node that was not there a minute ago may be."""
        verdict = await on_graph(len(request.graph), prompts.judge, request, await server.types())
        if verdict.accepted or not _may_be_stale(verdict):
            return verdict
        return await on_graph(len(request.graph), prompts.judge, request, await server.types(anew=True))

    def _count(self, owner: str, server: Server) -> dict[str, float]:
        """The jobs of an owner that are not over. Raises RefusedError where there are too many."""
        active = self._active.setdefault(owner, {})
        if len(active) >= self._limits.jobs:
            for job, since in tuple(active.items()):
                if job not in server.jobs and since < server.looked_at:
                    del active[job]
            if len(active) >= self._limits.jobs:
                words = f"You have {len(active)} jobs waiting or running, which is the limit."
                raise RefusedError(429, "too_many_jobs", words, retry_after=10)
        return active


def _accepted(body: bytes) -> dict[str, Any]:
    """What a server answers of a job it takes, its number an integer as where a client gives none: 5, not 5.0.

    Raises NotComfyUIError.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NotComfyUIError("The backend does not answer as ComfyUI does.")
    number = answer.get("number")
    return answer | {"number": int(number)} if isinstance(number, float) and number.is_integer() else answer


async def _may_name(own: Own, node: Node, text: str) -> bool:
    kind, files = naming.named(text)
    if node.class_type == "LoadImageOutput" and not kind:
        made = [replace(file, type="output") for file in files]
        return all([await own.may_read(file) for file in made]) and all(own.may_name(file) for file in files)
    if kind:
        return any([await own.may_read(file) for file in files]) and all(own.may_name(file) for file in files)
    return all(own.may_name(file) for file in files)


def _may_be_stale(verdict: Verdict) -> bool:
    faults = [fault.type for faults in verdict.node_faults.values() for fault in faults]
    return bool(_STALE.intersection([*faults, verdict.error.type if verdict.error else ""]))
