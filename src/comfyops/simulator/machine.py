"""The state of one simulated server, and the worker that runs its prompts one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from comfyops.simulator.bench import Bench
from comfyops.simulator.cache import Cache
from comfyops.simulator.executor import Run
from comfyops.simulator.facts import Facts
from comfyops.simulator.faults import ProcessExitError, WorkerDiedError
from comfyops.simulator.files import Folders
from comfyops.simulator.history import History, now
from comfyops.simulator.host import Interrupt
from comfyops.simulator.models import Residency, default_inventory
from comfyops.simulator.nodes import function_for
from comfyops.simulator.poison import grasp, strike
from comfyops.simulator.queue import Item, Queue
from comfyops.simulator.runs import RunLog
from comfyops.simulator.settings import SimulatorSettings
from comfyops.simulator.sockets import Sockets
from comfyops.simulator.submission import Submission, accept, number_of
from comfyops.workflows.node_types import NodeTypes, shipped

_log = logging.getLogger(__name__)
MODERN = "0.33.0"


class Machine:
    """All that the routes of one server work with. `die` ends the server as a crash would."""

    def __init__(self, settings: SimulatorSettings, folders: Folders, die: Callable[[], None]) -> None:
        faults = settings.faults
        self.settings = settings
        self.folders = folders
        self.modern = settings.version != "0.8.0"
        self.models = default_inventory().folders if settings.models is None else settings.models
        self.facts = Facts(settings.types or shipped(settings.version), self.models, folders)
        self.sockets = Sockets(shared_queue=settings.faithful_poison, drop_after=faults.drop_sockets_after)
        self.queue = Queue(self.queue_changed)
        self.history = History(settings.history_limit)
        self.interrupt = Interrupt()
        self.residency = Residency(settings.vram_bytes, settings.model_bytes, settings.model_bytes_default)
        self.log: list[tuple[str, str]] = []
        self.runs = RunLog(settings.record)
        self.bench = Bench(
            settings,
            self.facts.types,
            folders,
            self.sockets,
            Cache(self.facts.types, self.facts.fingerprint),
            self.interrupt,
            self._load,
            self.residency.clear,
            function_for,
            self._checkpoint,
        )
        self._die = die
        self._counter = 0
        self._serial = 0
        self._runs = 0
        self._flags: dict[str, bool] = {}

    def queue_info(self) -> dict[str, Any]:
        """The answer of GET /prompt, also inside `status` messages."""
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    def queue_changed(self) -> None:
        """Tell every socket how many prompts are left."""
        self.sockets.publish_json("status", {"status": self.queue_info()})

    def submit(self, body: Any, usage_source: str | None) -> dict[str, Any]:
        """POST /prompt with this body.

        Raises RefusedError and ServerTroubleError, and TypeError for a twin that clashes.
        """
        number, self._counter = number_of(body, self._counter)
        types = self.types()
        accepted = accept(body, types, self.file_exists, modern=self.modern, usage_source=usage_source)
        self._put(number, accepted)
        return {"prompt_id": accepted.id, "number": number, "node_errors": accepted.node_errors}

    def types(self) -> NodeTypes:
        """The node types with the uploads of this moment."""
        self.bench.types = self.facts.refresh()
        return self.bench.types

    def file_exists(self, folder: str, name: str) -> bool:
        """Whether a node could load this file."""
        return self.folders.input_file(f"{name} [{folder}]") is not None

    def cancel(self, prompt_id: str) -> bool:
        """Interrupt or dequeue a prompt; False where it is neither running nor pending."""
        if self.queue.running is not None and self.queue.running.id == prompt_id:
            self.interrupt.set()
            return True
        return self.queue.delete(prompt_id)

    def free(self, flags: Mapping[str, Any]) -> None:
        """Ask to unload models or to forget results; done when no prompt runs."""
        self._flags.update({name: True for name in ("unload_models", "free_memory") if flags.get(name)})
        if self.queue.running is None:
            self._apply_flags()

    async def work(self) -> None:
        """Run prompts until cancelled, or until the worker dies of one."""
        try:
            while True:
                await self._work_once()
        except WorkerDiedError as error:
            self.say(f"the simulated worker died: {error}")
        except ProcessExitError as error:
            self.say(f"the simulated process exits: {error}")
            self._die()

    def say(self, text: str) -> None:
        """A line for the server's log."""
        self.log.append((str(now()), text))
        _log.info(text)

    async def _work_once(self) -> None:
        try:
            item = await self.queue.take()
        except TypeError as error:
            raise WorkerDiedError("two prompts of the same number and id cannot be compared") from error
        if self.settings.faithful_poison:
            self._grasp(item)
        if self.settings.faults.dead_worker:
            raise WorkerDiedError("it was asked for")
        self.interrupt.reset()
        self.runs.note("begin", item.id)
        run = Run(self.bench, item)
        run.tell("execution_start", {"prompt_id": item.id})
        if self.settings.faithful_poison:
            strike(item.prompt, item.client_id, modern=self.modern)
        await run.run()
        self.runs.note("end", item.id)
        self._runs += 1
        if self._runs == self.settings.faults.forget_after_runs:
            self._restart()
            return
        self.history.add(run.result)
        self.queue.done()
        if item.client_id is not None:
            data = {"node": None, "prompt_id": item.id}
            self.sockets.publish_json("executing", data, item.client_id)
        self._apply_flags()

    def _grasp(self, item: Item) -> None:
        try:
            grasp(item)
        except WorkerDiedError:
            self.queue.running = None
            raise

    def _put(self, number: float, accepted: Submission) -> None:
        self._serial += 1
        extra_data = {**accepted.extra_data, "create_time": now()}
        faithful = self.settings.faithful_poison
        if not faithful and not isinstance(extra_data.get("client_id"), str | None):
            extra_data["client_id"] = str(extra_data["client_id"])
        item = Item(
            number, accepted.id, accepted.prompt, extra_data, accepted.outputs, self._serial, twins_clash=faithful
        )
        self.queue.put(item)

    def _apply_flags(self) -> None:
        flags, self._flags = self._flags, {}
        if flags.get("free_memory"):
            self.bench.cache.clear()
            self.bench.succeeded = True
        if flags:
            self.residency.clear()

    async def _load(self, folder: str, name: str) -> float:
        return self.settings.model_load_seconds if self.residency.load(name) else 0.0

    async def _checkpoint(self) -> None:
        if self.settings.faults.die_mid_run:
            self._die()
            await asyncio.Event().wait()

    def _restart(self) -> None:
        """Behave as a server that was restarted: everything in memory is gone, sockets are cut."""
        self.queue.forget()
        self.history.clear()
        self.bench.cache.clear()
        self.bench.succeeded = True
        self.residency.clear()
        self._counter = 0
        self.sockets.abort()


MACHINE: web.AppKey[Machine] = web.AppKey("machine", Machine)


def machine(request: web.Request) -> Machine:
    """The machine that serves a request."""
    return request.config_dict[MACHINE]
