"""Runs one prompt: the nodes that its outputs need, in order, with the messages that a real server sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfyops.simulator.bench import Bench
from comfyops.simulator.cache import Entry, hidden_inputs, link_of
from comfyops.simulator.call import InterruptedRun, NodeCall, NodeResult
from comfyops.simulator.faults import (
    OOM_TIPS,
    DependencyCycleError,
    NodeNotFoundError,
    OutOfMemoryError,
    WorkerDiedError,
    before_node,
    corrupt,
)
from comfyops.simulator.history import Record, now
from comfyops.simulator.host import NodeHost
from comfyops.simulator.mapping import calls, check_arguments, merge_outputs, merge_ui, shown_value, type_name
from comfyops.simulator.ordering import Ordering
from comfyops.simulator.progress import Progress
from comfyops.simulator.queue import Item
from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.node_types import NodeType

_SWITCH = "ComfySwitchNode"  # the one class with lazy inputs


class Run:
    """One prompt being run; `result` is what history will say."""

    def __init__(self, bench: Bench, item: Item) -> None:
        self._bench = bench
        self._item = item
        self._prompt = item.prompt
        self._progress = Progress(bench.sockets, item.id, item.client_id)
        self._settings = _with_preview_method(bench.settings, item.extra_data)
        self._executed: list[str] = []
        self._ordering = Ordering(
            self._prompt,
            lambda key: bench.cache.get(key) is not None,
            self._is_output,
            self._is_lazy,
            self._follow if bench.settings.faithful_poison else lambda source, slot: None,
        )
        self.result = Record(item)

    async def run(self) -> None:
        """Run it to its end: success, error or interruption, none of which is raised.

        Raises WorkerDiedError for links that a real server breaks on.
        """
        cache = self._bench.cache
        cache.begin(self._prompt)
        cached = [node_id for node_id in self._prompt if cache.get(node_id)]
        self.tell("execution_cached", {"nodes": cached, "prompt_id": self._item.id})
        self._plan()
        while self.result.succeeded and (node_id := self._ordering.next()) is not None:
            if await self._visit(node_id):
                self._ordering.done(node_id)
            self._bench.succeeded = self.result.succeeded
        blamed = self._ordering.circling()
        if self.result.succeeded and blamed is not None:
            self._circling(blamed)
        elif self.result.succeeded:
            self._show_cached_extras()
            self.tell("execution_success", {"prompt_id": self._item.id})
        self._bench.current = None

    def tell(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """Put a message into the record and send it to the client, or to everybody."""
        data = {**data, "timestamp": now()}
        self.result.messages.append((event, data))
        if self._item.client_id is not None or broadcast:
            self._bench.sockets.publish_json(event, data, self._item.client_id)

    def _plan(self) -> None:
        """Want the outputs, and whatever they need."""
        try:
            for output in self._item.outputs:
                self._ordering.add(output)
        except (NodeNotFoundError, IndexError, TypeError) as error:
            raise WorkerDiedError(str(error)) from error

    def _follow(self, source: str, slot: Any) -> None:
        """Follow a link as the real server does, which does not expect that it leads nowhere."""
        if source not in self._prompt:
            raise NodeNotFoundError(source)
        entry = self._bench.cache.get(source)
        if entry is not None and self._bench.types.is_modern:
            entry.output(slot)

    async def _visit(self, node_id: str) -> bool:
        """Run a node or take its cached result; False where it failed or must wait for a lazy input."""
        entry = self._bench.cache.get(node_id)
        if entry is not None:
            self._show_cached(node_id, entry)
            self._progress.finish(node_id)
            return True
        inputs: dict[str, list[Any]] | None = None
        self._progress.start(node_id)
        try:
            inputs = self._inputs(node_id)
            self._announce(node_id)
            if self._wants_more(node_id, inputs):
                return False
            check_arguments(self._type(node_id), inputs, self._declared(node_id))
            await self._execute(node_id, inputs)
        except InterruptedRun:
            self._interrupted(node_id)
            return False
        except Exception as error:  # noqa: BLE001 (whatever a node raises is the run's error, as on the real server)
            self._failed(node_id, inputs, error)
            return False
        self._progress.finish(node_id)
        self._executed.append(node_id)
        await self._bench.checkpoint()
        return True

    async def _execute(self, node_id: str, inputs: Mapping[str, list[Any]]) -> None:
        node_type = self._type(node_id)
        before_node(self._settings.faults, node_type.name)
        function = self._bench.function_for(node_type)
        results: list[NodeResult] = []
        for values in calls(node_type, inputs):
            self._bench.interrupt.check()
            host = self._host(node_id)
            results.append(await function(self._call(node_id, values, host)))
            await host.finish()
        entry = Entry(merge_outputs(results, node_type), merge_ui(results))
        if entry.ui:
            if self._settings.faults.corrupt_output:
                corrupt(self._bench.folders, entry.ui)
            self.result.add_output(node_id, entry.ui)
            self._executed_message(node_id, entry.ui)
        if self._bench.types.is_modern:
            for slot in self._ordering.slots(node_id):
                entry.output(slot)
        self._bench.cache.set(node_id, entry)

    def _call(self, node_id: str, values: Mapping[str, Any], host: NodeHost) -> NodeCall:
        pnginfo = self._item.extra_data.get("extra_pnginfo")
        return NodeCall(node_id, self._type(node_id), values, host, self._prompt, pnginfo)

    def _host(self, node_id: str) -> NodeHost:
        bench = self._bench
        return NodeHost(
            self._settings,
            bench.folders.input,
            bench.folders.output,
            bench.folders.temp,
            node_id,
            bench.interrupt,
            self._progress,
            bench.load,
            bench.checkpoint,
        )

    def _inputs(self, node_id: str) -> dict[str, list[Any]]:
        """Each input as a list of values: what the linked output gave, or the constant alone."""
        given = self._prompt[node_id]["inputs"]
        declared = self._declared(node_id)
        found: dict[str, list[Any]] = {}
        for name, value in given.items():
            link = link_of(value)
            if link is not None:
                found[name] = self._linked(*link)
            elif name in declared:
                found[name] = [value]
        return found

    def _declared(self, node_id: str) -> set[str]:
        """Names of the inputs that the node has for the values given to it."""
        given = self._prompt[node_id]["inputs"]
        return {item.name for item in expand(self._type(node_id), given, modern=self._bench.types.is_modern)}

    def _linked(self, source: str, slot: Any) -> list[Any]:
        entry = self._bench.cache.get(source)
        if entry is None or slot >= len(entry.outputs):
            return [None]
        return entry.output(slot)

    def _wants_more(self, node_id: str, inputs: Mapping[str, list[Any]]) -> bool:
        """Whether the node must wait for one of its lazy inputs first."""
        if self._type(node_id).name != _SWITCH:
            return False
        name = "on_true" if inputs.get("switch", [False])[0] else "on_false"
        return name in inputs and self._ordering.require(node_id, name)

    def _announce(self, node_id: str) -> None:
        if self._item.client_id is not None:
            self._bench.current = (self._item.client_id, node_id)
            data = {"node": node_id, "display_node": node_id, "prompt_id": self._item.id}
            self._bench.sockets.publish_json("executing", data, self._item.client_id)

    def _executed_message(self, node_id: str, ui: Any) -> None:
        if self._item.client_id is not None:
            data = {"node": node_id, "display_node": node_id, "output": ui, "prompt_id": self._item.id}
            self._bench.sockets.publish_json("executed", data, self._item.client_id)

    def _show_cached(self, node_id: str, entry: Entry) -> None:
        """Report a cached result. 0.8.0 forgets to put it into history where the prompt has no client id."""
        if entry.ui and (self._bench.types.is_modern or self._item.client_id is not None):
            self.result.add_output(node_id, entry.ui)
        self._executed_message(node_id, entry.ui or None)

    def _show_cached_extras(self) -> None:
        """Cached nodes that show something though they are no outputs come last."""
        for node_id in self._prompt:
            entry = self._bench.cache.get(node_id)
            if node_id not in self._executed and entry and self._type(node_id).has_intermediate_output:
                self._show_cached(node_id, entry)

    def _interrupted(self, node_id: str) -> None:
        self.result.succeeded = False
        self.tell("execution_interrupted", self._where(node_id), broadcast=True)

    def _circling(self, node_id: str) -> None:
        """No node can run. A real server forgets to note that; what it says is how the last node ended."""
        self.result.succeeded = self._bench.succeeded
        error = DependencyCycleError("Dependency cycle detected")
        words = {"exception_message": str(error), "exception_type": type_name(error)}
        rest = {"traceback": [], "current_inputs": [], "current_outputs": list(self._prompt)}
        self.tell("execution_error", {**self._where(node_id), **words, **rest})

    def _failed(self, node_id: str, inputs: Mapping[str, list[Any]] | None, error: Exception) -> None:
        self.result.succeeded = False
        tips = ""
        if isinstance(error, OutOfMemoryError):
            tips = OOM_TIPS
            self._bench.unload()
        data = {
            **self._where(node_id),
            "exception_message": f"{error}\n{tips}",
            "exception_type": type_name(error),
            "traceback": [f"  (simulated) node {node_id}, {self._type(node_id).name}\n"],
            "current_inputs": self._shown_inputs(node_id, inputs or {}),
            "current_outputs": list(self._prompt),
        }
        self.tell("execution_error", data)

    def _where(self, node_id: str) -> dict[str, Any]:
        return {
            "prompt_id": self._item.id,
            "node_id": node_id,
            "node_type": self._type(node_id).name,
            "executed": list(self._executed),
        }

    def _shown_inputs(self, node_id: str, inputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        extra = self._item.extra_data
        hidden = {"PROMPT": self._prompt, "EXTRA_PNGINFO": extra.get("extra_pnginfo"), "UNIQUE_ID": node_id}
        values = {name: [hidden.get(word)] for name, word in hidden_inputs(self._type(node_id)).items()}
        return {name: [shown_value(value) for value in items] for name, items in {**inputs, **values}.items()}

    def _type(self, node_id: str) -> NodeType:
        return self._bench.types[self._prompt[node_id]["class_type"]]

    def _is_output(self, node_id: str) -> bool:
        return self._type(node_id).is_output

    def _is_lazy(self, node_id: str, name: str) -> bool:
        item = self._type(node_id).input(name)
        return item is not None and self._type(node_id).name == _SWITCH and bool(item.options.get("lazy"))


def _with_preview_method(settings: SimulatorSettings, extra_data: Mapping[str, Any]) -> SimulatorSettings:
    method = extra_data.get("preview_method")
    if method in ("auto", "latent2rgb", "taesd"):
        return replace(settings, previews=True)
    return replace(settings, previews=False) if method == "none" else settings
