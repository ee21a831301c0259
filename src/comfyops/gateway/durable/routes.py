"""Which of ComfyUI's routes the durable queue serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.gateway.admission import Admission
from comfyops.gateway.durable.reading import DurableChanges, DurableReading
from comfyops.gateway.durable.sockets import DurableSockets
from comfyops.gateway.durable.submitting import DurableSubmitting
from comfyops.gateway.durable.uploading import DurableUploads
from comfyops.gateway.durable.viewing import Viewing
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.settings import Limits
from comfyops.jobs.queue import Queue

_Handler = Callable[[Exchange, str | None], Awaitable[None]]


class DurableJobs:
    """ComfyUI's routes of jobs and their files, over a queue."""

    def __init__(self, queue: Queue, admission: Admission, limits: Limits) -> None:
        self.sockets = DurableSockets(queue, limits)
        self._submitting = DurableSubmitting(queue, admission, self.sockets)
        self._viewing = Viewing(queue)
        self._uploads = DurableUploads(queue, self._viewing)
        reading, changes = DurableReading(queue), DurableChanges(queue)
        self._routes: dict[tuple[str, str, int], _Handler] = {
            ("GET", "prompt", 1): reading.exec_info,
            ("GET", "queue", 1): reading.queue,
            ("POST", "queue", 1): changes.queue,
            ("POST", "interrupt", 1): changes.interrupt,
            ("GET", "history", 1): reading.history,
            ("GET", "history", 2): reading.history_entry,
            ("GET", "history_v2", 2): reading.history_entry,
            ("POST", "history", 1): changes.history,
            ("GET", "jobs", 1): reading.jobs,
            ("GET", "jobs", 2): reading.job,
            ("POST", "jobs", 2): changes.cancel_many,
            ("POST", "jobs", 3): changes.cancel,
        }

    async def serve(self, exchange: Exchange, principal: Principal) -> bool:
        """Serve a request; False where it is none of the queue's. Raises RefusedError, StorageError, QueueError."""
        method = "GET" if exchange.method == "HEAD" else exchange.method
        names = exchange.path[1:].split("/")
        everybody = principal.may(scopes.JOBS_ALL)
        if (method, exchange.path) == ("POST", "/prompt"):
            await self._submitting.submit(exchange, principal)
        elif (method, exchange.path) == ("GET", "/view"):
            return await self._viewing.view(exchange, principal.id, everybody=everybody)
        elif method == "GET" and exchange.path.startswith("/internal/files/"):
            await self._viewing.names(exchange, principal.id)
        elif method == "POST" and exchange.path in ("/upload/image", "/upload/mask"):
            await self._uploads.upload(exchange, principal.id)
        elif (handler := self._routes.get((method, names[0], len(names)))) is not None:
            await handler(exchange, None if everybody else principal.id)
        else:
            return False
        return True
