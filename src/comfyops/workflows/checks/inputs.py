"""The server's checks of one input's value: conversion, range, list, type of a link.

Source: the behaviour of ComfyUI 0.33.0 and 0.8.0. Messages are the server's own words, for programs that match them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from comfyops.workflows.api_format import from_value
from comfyops.workflows.graph import Link, Value
from comfyops.workflows.node_types import MATCH_TYPE, InputType

_CONVERT: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
_LONG_LIST = 20  # lists longer than this are not repeated in an answer


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in the server's words, as it stands in `node_errors` or as the `error` of an answer."""

    type: str
    message: str
    details: str
    extra_info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input(self) -> str:
        """The input it is about, "" where it is about the whole node."""
        return str(self.extra_info.get("input_name", ""))


class CheckError(Exception):
    """The server's own check raises on this value: it answers with an exception instead of a clean error."""

    def __init__(self, message: str, exception_type: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type


class InputCheck:
    """The prepared check of one declared input; `free` ones skip range and list."""

    __slots__ = ("choices", "convert", "high", "kind", "low", "multiselect", "name", "required", "spec", "words")

    def __init__(self, item: InputType, *, free: bool, files_unknown: bool) -> None:
        options = item.options
        self.name = item.name
        self.required = item.required
        self.spec = item.spec
        self.kind = item.spec[0]
        self.convert = _CONVERT.get(item.kind)
        self.low = None if free else options.get("min")
        self.high = None if free else options.get("max")
        listed = item.kind == "COMBO" and not free and not files_unknown
        self.choices: Sequence[Any] | None = item.choices if listed else None
        self.words = frozenset(item for item in self.choices or () if type(item) is str)
        self.multiselect = bool(options.get("multiselect"))

    def fault(self, value: Value) -> Fault | None:
        """What is wrong with a value that is no link, None if nothing is.

        Raises CheckError where the server's check would raise.
        """
        if type(value) is self.convert:
            return None if self.low is None and self.high is None else self._out_of_range(value)
        if type(value) is str and value in self.words:
            return None
        value = unwrapped(value)
        plain: Any = value if value is None or type(value) in (str, int, float, bool) else from_value(value)
        if self.convert is not None:
            try:
                plain = self.convert(plain)
            except (TypeError, ValueError, OverflowError) as error:
                return self._not_convertible(plain, error)
        return self._out_of_range(plain) or self._not_listed(plain)

    def missing(self, name: str) -> Fault:
        """The fault of not being given."""
        return Fault("required_input_missing", "Required input is missing", name, {"input_name": self.name})

    def bad_link(self, value: Value) -> Fault:
        """The fault of a list that is not `[node, slot]`."""
        return Fault(
            "bad_linked_input",
            "Bad linked input, must be a length-2 list of [node_id, slot_index]",
            self.name,
            self._extra(received_value=from_value(value)),
        )

    def mismatch(self, received: Any, link: list[Any]) -> Fault:
        """The fault of a link from an output of another type."""
        return Fault(
            "return_type_mismatch",
            "Return type mismatch between linked nodes",
            f"{self.name}, received_type({received}) mismatch input_type({self.kind})",
            self._extra(received_type=received, linked_node=link),
        )

    def _extra(self, **facts: Any) -> dict[str, Any]:
        return {"input_name": self.name, "input_config": self.spec, **facts}

    def _not_convertible(self, plain: Any, error: Exception) -> Fault:
        return Fault(
            "invalid_input_type",
            f"Failed to convert an input value to a {self.kind} value",
            f"{self.name}, {plain}, {error}",
            self._extra(received_value=plain, exception_message=str(error)),
        )

    def _out_of_range(self, plain: Any) -> Fault | None:
        try:
            if self.low is not None and plain < self.low:
                kind, words = "value_smaller_than_min", f"Value {plain} smaller than min of {self.low}"
            elif self.high is not None and plain > self.high:
                kind, words = "value_bigger_than_max", f"Value {plain} bigger than max of {self.high}"
            else:
                return None
        except TypeError as error:
            raise CheckError(str(error), "TypeError") from error
        return Fault(kind, words, self.name, self._extra(received_value=plain))

    def _not_listed(self, plain: Any) -> Fault | None:
        if self.choices is None:
            return None
        many = self.multiselect and isinstance(plain, list)
        unknown = [item for item in (plain if many else [plain]) if item not in self.choices]
        if not unknown:
            return None
        long = len(self.choices) > _LONG_LIST
        shown = f"(list of length {len(self.choices)})" if long else str(list(self.choices))
        extra = {
            "input_name": self.name,
            "input_config": None if long else self.spec,
            "received_value": plain,
        }
        details = f"{self.name}: {', '.join(map(repr, unknown))} not in {shown}"
        return Fault("value_not_in_list", "Value not in list", details, extra)


def unwrapped(value: Value) -> Value:
    """A value without the wrapper `{"__value__": ...}`, by which a list is told from a link."""
    return value["__value__"] if isinstance(value, Mapping) and "__value__" in value else value


def types_match(received: Any, wanted: Any) -> bool:
    """Whether an output of type `received` may feed an input of type `wanted`; either may be "A,B" or a list."""
    if isinstance(received, str) and isinstance(wanted, str):
        return received == wanted or _words_match(received, wanted)
    if received == wanted or "*" in (received, wanted) or MATCH_TYPE in (received, wanted):
        return True
    return isinstance(received, list) and wanted == "COMBO"


@lru_cache(maxsize=4096)
def _words_match(received: str, wanted: str) -> bool:
    if MATCH_TYPE in (received, wanted):
        return True
    gives = {word.strip() for word in received.split(",")}
    takes = {word.strip() for word in wanted.split(",")}
    return "*" in gives or "*" in takes or bool(gives & takes)


def link_parts(value: Value) -> tuple[Any, Any] | None:
    """(node, slot) of any list of two, also of an ill-formed link; None for other values."""
    if type(value) is Link or (isinstance(value, tuple) and len(value) == 2):
        return value[0], value[1]
    return None
