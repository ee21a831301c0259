"""Which graphs may become jobs of the durable queue: well formed, allowed to their owner, and good for some backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.gateway import naming, prompts
from comfyops.gateway.prompts import Request
from comfyops.gateway.settings import GatewaySettings
from comfyops.jobs import output_names
from comfyops.jobs.taking_inputs import SUBFOLDER
from comfyops.jobs.uploads import Place, Uploads
from comfyops.support.threads import on_graph
from comfyops.workflows.checks.server import Verdict
from comfyops.workflows.graph import Node
from comfyops.workflows.node_types import NodeTypes

TypesOf = Callable[[], Awaitable[Sequence[NodeTypes]]]
"""The node types of the backends that were reached since the start; each kind once."""

_FILE = "file.png"  # stands where a file will stand whose name the backend gives

_REFERENCES = frozenset({"$asset", "$output"})


class Admission:
    """Judges graphs before they are accepted; `uploads` are the files that owners have sent to be named in them."""

    def __init__(self, settings: GatewaySettings, types: TypesOf, uploads: Uploads) -> None:
        self._settings = settings
        self._types = types
        self._uploads = uploads

    async def admit(self, graph: Mapping[str, Any], principal: Principal) -> None:
        """Refuse a graph that no backend would take, or that is not for this principal. Raises RefusedError."""
        await self.judge(prompts.parse({"prompt": _readable(graph)}, self._settings.limits), principal)

    async def judge(self, request: Request, principal: Principal) -> Verdict | None:
        """What the backend that likes a request best says of it; None where none was reached yet.

        Raises RefusedError where none takes it.
        """
        allowed = self._settings.classes.get(principal.role)
        prompts.permit(request.graph, allowed)
        if not principal.may(scopes.JOBS_ALL):
            # others' files, made or sent, lie in the backends' own folders
            await naming.check_files(request.graph, _may_read_folder, partial(self._may_name, principal.id))
        nodes = len(request.graph)
        verdicts = [await on_graph(nodes, prompts.judge, request, types) for types in await self._types()]
        if not verdicts:  # a job is not lost because its backends are away
            prompts.avert(request.graph)
            return None
        verdict = max(verdicts, key=lambda found: (found.accepted, len(found.good_outputs), -len(found.node_faults)))
        if not verdict.accepted:
            prompts.refuse(verdict)
        prompts.permit(verdict.graph, allowed)  # classes may have been replaced
        return verdict

    async def _may_name(self, owner: str, node: Node, text: str) -> bool:
        kind, files = naming.named(text)
        if kind in ("", "input") or output_names.named(text) is not None:  # whose job that is, is looked at elsewhere
            return True
        places = [Place(file.type, file.subfolder, file.name) for file in files if kind == "temp"]
        return any([await self._uploads.get(owner, place) is not None for place in places])


def _may_read_folder(folder: str) -> bool:
    return folder.partition("/")[0].lower() != SUBFOLDER


def _readable(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with a name in place of each reference to a file."""
    return {node: _with_names(content) for node, content in graph.items()}


def _with_names(content: Any) -> Any:
    inputs = content.get("inputs") if isinstance(content, Mapping) else None
    if not isinstance(inputs, Mapping) or not any(_is_reference(value) for value in inputs.values()):
        return content
    return {**content, "inputs": {name: _FILE if _is_reference(value) else value for name, value in inputs.items()}}


def _is_reference(value: object) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and bool(_REFERENCES & value.keys())
