"""Pinned inputs: what a file NAME.inputs.yaml beside the workflow NAME.json says of the workflow's inputs.

    inputs:
      hero:                      # a name of one's own
        from: prompt2            # for an input that was found, or
        targets: [6.text, 12.text]    # for any inputs of nodes: by id, title or class
        title: Hero
        description: Who stands in front.
        default: a knight
      steps: {minimum: 4, maximum: 30}    # a found input, described better
    hide: [cfg, scheduler]       # found inputs that are not shown (they can still be set by NODE.INPUT)

A default is set whenever no other value is given. A pinned input takes its targets away from the input they were found
for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from comfyops.errors import UnknownInputError, WorkflowFormatError
from comfyops.workflows import inputs as found_inputs
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import naming
from comfyops.workflows.inputs.roles import Candidate
from comfyops.workflows.inputs.tracing import Place, Tracer
from comfyops.workflows.inputs.workflow_input import WorkflowInput
from comfyops.workflows.node_types import NodeTypes

Plain = str | int | float | bool


class Pin(BaseModel):
    """What the file says of one input."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: str | None = Field(default=None, alias="from")
    targets: str | list[str] = ()  # type: ignore[assignment]
    title: str | None = None
    description: str | None = None
    default: Plain | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: list[Plain] | None = None
    required: bool | None = None

    def changes(self) -> dict[str, Any]:
        """The fields of a WorkflowInput that are pinned."""
        given = self.model_dump(exclude={"source", "targets"}, exclude_none=True)
        return {**given, **({"choices": tuple(self.choices)} if self.choices is not None else {})}


class Pins(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    inputs: dict[str, Pin] = Field(default_factory=dict)
    hide: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A graph ready to be given values: pinned defaults are set in it."""

    graph: Graph
    inputs: tuple[WorkflowInput, ...]


def parse(data: object, where: str) -> Pins:
    """The pins in parsed YAML.

    Raises WorkflowFormatError naming the field that is wrong.
    """
    try:
        pins = Pins.model_validate({} if data is None else data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        words = f"{where} does not pin inputs: {at}: {first['msg'].lower()}."
        raise WorkflowFormatError(words, hint="See docs/inputs.md for what the file may say.") from None
    for name in pins.inputs:
        if not name.isidentifier():
            words = f"{where} does not pin inputs: {name!r} is no name (letters, digits and underscores)."
            raise WorkflowFormatError(words, hint="See docs/inputs.md for what the file may say.")
    return pins


def prepare(graph: Graph, types: NodeTypes, pins: Pins | None = None) -> Prepared:
    """The inputs of a graph, as they are pinned.

    Raises UnknownInputError for pins of what is not there, InvalidValueError for a default that does not fit.
    """
    found = found_inputs.find(graph, types)
    if pins is None:
        return Prepared(graph, found)
    own = tuple(_pinned(name, pin, graph, types, found) for name, pin in pins.inputs.items())
    for name in pins.hide:
        if not any(name in (item.name, *item.aliases) for item in found):
            raise UnknownInputError(f"The file hides {name!r}, which is no input of the workflow.", name=name)
    rest = tuple(_left(found, own, frozenset(pins.hide)))
    defaults = {name: pin.default for name, pin in pins.inputs.items() if pin.default is not None}
    inputs = (*own, *rest)
    return Prepared(found_inputs.apply(graph, inputs, defaults, types), inputs)


def _pinned(name: str, pin: Pin, graph: Graph, types: NodeTypes, found: tuple[WorkflowInput, ...]) -> WorkflowInput:
    wanted = [pin.targets] if isinstance(pin.targets, str) else list(pin.targets)
    if not wanted:
        base = found_inputs.resolve(graph, found, pin.source or name)
        if isinstance(base, WorkflowInput):
            return replace(base, name=name, aliases=(), **pin.changes())
        wanted = [f"{place.node}.{place.input}" for place in base]
    places = tuple(place for address in wanted for place in _places(graph, found, address))
    known = next((item for item in found if set(places) == set(item.targets)), None)
    tracer = Tracer(graph, types)
    made = known or naming.one_input(
        naming.Group(name, [Candidate(name, place, place) for place in places], name), tracer
    )
    return replace(made, name=name, aliases=(), **pin.changes())


def _places(graph: Graph, found: tuple[WorkflowInput, ...], address: str) -> tuple[Place, ...]:
    item = found_inputs.resolve(graph, found, address)
    return item.targets if isinstance(item, WorkflowInput) else item


def _left(
    found: tuple[WorkflowInput, ...], own: tuple[WorkflowInput, ...], hidden: frozenset[str]
) -> Iterator[WorkflowInput]:
    """The found inputs that are neither hidden nor taken over by pinned ones."""
    taken: Mapping[Place, None] = {place: None for item in own for place in item.targets}
    names = {item.name for item in own}
    for item in found:
        targets = tuple(place for place in item.targets if place not in taken)
        if targets and not hidden.intersection((item.name, *item.aliases)) and item.name not in names:
            yield replace(item, targets=targets, aliases=tuple(name for name in item.aliases if name not in names))
