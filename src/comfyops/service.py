"""Composition of what `comfyops serve` runs: the queue, a dispatcher in this process, and the APIs over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comfyops import app as parts

if TYPE_CHECKING:
    from comfyops.api.ops.app import AtWork
    from comfyops.config import Settings
    from comfyops.gateway.durable.routes import DurableJobs
    from comfyops.gateway.mounts import ASGIApp
    from comfyops.gateway.settings import GatewaySettings
    from comfyops.jobs.dispatcher import Dispatcher
    from comfyops.jobs.queue import Queue
    from comfyops.workflows.node_types import NodeTypes

_V2 = ("jobs", "batches", "assets", "signed", "health", "openapi.json")


@dataclass(frozen=True, slots=True)
class Service:
    """Durable jobs at work: what the gateway serves ComfyUI's own routes by, and what is mounted beside them."""

    queue: Queue
    dispatcher: Dispatcher
    native: DurableJobs
    mounts: Mapping[str, ASGIApp]
    work: AtWork


@asynccontextmanager
async def durable_jobs(
    settings: Settings, gateway: GatewaySettings, name: str = "", passing: Sequence[str] = ()
) -> AsyncIterator[Service]:
    """Durable jobs on the backends of a gateway, which are added to the fleet; those named in `passing`, which live
    only as long as this process, keep one name in it whatever their address is.

    Raises MissingExtraError, DatabaseError, StorageError, DispatcherTakenError, UsageError.
    """
    from comfyops.api.ops.app import AtWork
    from comfyops.api.v2.app import ApiSettings, build
    from comfyops.gateway.admission import Admission
    from comfyops.gateway.durable.routes import DurableJobs

    async with parts.queue_service(settings, name) as (queue, dispatcher):
        for address in gateway.backends:
            own = "local" if address.url in passing else ""
            await queue.fleet.add(address.url, name=own, token=address.credential or "")

        async def types() -> list[NodeTypes]:
            return dispatcher.prober.kinds()

        admission = Admission(gateway, types, queue.uploads)
        told = ApiSettings(
            retention=settings.keep_jobs_days * 86_400,
            max_upload=gateway.limits.upload_bytes,
            deliver_name=settings.deliver_name,
        )
        api = build(queue, admission.admit, told)
        mounts = dict.fromkeys((f"/api/v2/{name}" for name in _V2), api)
        native = DurableJobs(queue, admission, gateway.limits)
        yield Service(queue, dispatcher, native, mounts, AtWork(queue, admission.admit))
