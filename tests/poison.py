"""Requests that break ComfyUI, with others that look like them, and what each of them does to a real server.

One list for two sides: a simulator with `faithful_poison` breaks of them in the same way, and the gateway lets none of
them through. What they do was seen on ComfyUI 0.33.0 and 0.8.0, each on a server that had run one good job before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfyops.testing import graphs
from comfyops.workflows import api_format

GOOD: dict[str, Any] = api_format.dump(graphs.picture())
LONELY: dict[str, Any] = {
    "class_type": "EmptyImage",
    "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0},
}


class Effect(StrEnum):
    """What a request does to a server."""

    REFUSED = "400, and the server goes on"
    TROUBLE = "500, and the server goes on"
    SUCCESS = "200, it runs, and the server goes on"
    ERROR = "200, it ends in an error, and the server goes on"
    WORKER = "200, and nothing runs any more, though the server answers"
    PROCESS = "the server ends"
    LISTS = "200, it runs, and GET /api/jobs is 500 until history forgets it"


HARMFUL = frozenset({Effect.WORKER, Effect.PROCESS, Effect.LISTS})


@dataclass(frozen=True)
class Poison:
    """The body of a POST /prompt, and what it does to each version; `first` is a prompt that ran just before."""

    body: Any
    modern: Effect
    older: Effect
    first: Any = None

    def effect(self, version: str) -> Effect:
        """What it does to this version."""
        return self.older if version == "0.8.0" else self.modern


def chain(length: int) -> dict[str, Any]:
    """A chain of so many nodes, the last one an output."""
    nodes: dict[str, Any] = {"0": LONELY}
    for number in range(1, length - 1):
        nodes[str(number)] = inverted(str(number - 1))
    last = {"images": [str(length - 2), 0], "filename_prefix": "x"}
    return {**nodes, "end": {"class_type": "SaveImage", "inputs": last}}


def loose(length: int, slot: object = 0, ring: bool = False) -> dict[str, Any]:
    """A chain of so many nodes that no output needs; `ring` closes it."""
    nodes: dict[str, Any] = {"c0": inverted(f"c{length - 1}", slot) if ring else LONELY}
    for number in range(1, length):
        nodes[f"c{number}"] = inverted(f"c{number - 1}", slot)
    return nodes


def inverted(source: str, slot: object = 0) -> dict[str, Any]:
    """A node with one link."""
    return {"class_type": "ImageInvert", "inputs": {"image": [source, slot]}}


def more_inputs(**inputs: object) -> dict[str, Any]:
    """A node without links, and further inputs, which its class does not have."""
    return {**LONELY, "inputs": {**LONELY["inputs"], **inputs}}


def saved(*, more: dict[str, Any] | None = None, **inputs: object) -> dict[str, Any]:
    """A picture that is saved, with further inputs of the last node, which its class does not have."""
    last = {"images": ["1", 0], "filename_prefix": "x", **inputs}
    return {"1": LONELY, "2": {"class_type": "SaveImage", "inputs": last}, **(more or {})}


def switch(which: bool) -> dict[str, Any]:
    """A switch, one side of which needs a node that is not there."""
    sides = {"switch": which, "on_true": ["1", 0], "on_false": ["3", 0]}
    return {
        "1": LONELY,
        "2": {"class_type": "ComfySwitchNode", "inputs": sides},
        "3": more_inputs(x=["9", 0]),
        "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


def nested(levels: int, *, objects: bool = False) -> Any:
    """Lists in each other, or objects."""
    found: Any = {} if objects else []
    for _ in range(levels - 1):
        found = {"x": found} if objects else [found]
    return found


_400, _500, _WORKER, _PROCESS = Effect.REFUSED, Effect.TROUBLE, Effect.WORKER, Effect.PROCESS
_SUCCESS, _ERROR, _LISTS = Effect.SUCCESS, Effect.ERROR, Effect.LISTS


def _ran(prompt: dict[str, Any], modern: Effect, older: Effect, **more: Any) -> Poison:
    first = more.pop("first", None)
    return Poison({"prompt": prompt, **more}, modern, older, first)


def _beside(modern: Effect, older: Effect, **more: Any) -> Poison:
    """Something wrong beside a good prompt."""
    return _ran(GOOD, modern, older, **more)


def _drawn(workflow: object) -> dict[str, Any]:
    """Extra data with this as the workflow that was drawn."""
    return {"extra_pnginfo": {"workflow": workflow}}


def _slots() -> dict[str, Poison]:
    """Links to outputs that are not there, by inputs that the class does not have."""
    slots = {
        "behind the last": 7,
        "before the first": -7,
        "half": 0.5,
        "as a fraction": 1.0,
        "true": True,
        "endless": math.inf,
        "no number": math.nan,
    }
    fresh = {
        f"an output that is {name}": _ran(saved(other=["1", slot]), _ERROR, _ERROR) for name, slot in slots.items()
    }
    known = {
        f"an output that is {name}, of a node whose result is known": _ran(
            saved(other=["1", slot]), _WORKER, _ERROR, first=saved()
        )
        for name, slot in slots.items()
    }
    return {**fresh, **known}


MALFORMED: dict[str, Poison] = {
    "a node without inputs": _ran({**GOOD, "9": {"class_type": "EmptyImage"}}, _WORKER, _WORKER),
    "a node whose inputs are null": _ran({**GOOD, "9": {**LONELY, "inputs": None}}, _500, _WORKER),
    "a node whose inputs are a list": _ran({**GOOD, "9": {**LONELY, "inputs": []}}, _500, _WORKER),
    "a node whose inputs are text": _ran({**GOOD, "9": {**LONELY, "inputs": "x"}}, _500, _WORKER),
    "a node whose inputs are a number": _ran({**GOOD, "9": {**LONELY, "inputs": 5}}, _500, _WORKER),
    "a node that is text": _ran({**GOOD, "9": "EmptyImage"}, _500, _400),
    "a node that is null": _ran({**GOOD, "9": None}, _500, _500),
    "a node that is a list": _ran({**GOOD, "9": []}, _500, _400),
    "a class that is a list": _ran({**GOOD, "9": {**LONELY, "class_type": ["EmptyImage"]}}, _500, _500),
    "meta that is null": _ran({**GOOD, "9": {**LONELY, "_meta": None}}, _SUCCESS, _SUCCESS),
    "an unknown class": _ran({**GOOD, "9": {"class_type": "NoSuchNode", "inputs": {}}}, _400, _400),
    "no class": _ran({"1": {"inputs": {}}}, _400, _400),
    "an empty prompt": _ran({}, _400, _400),
    "a prompt that is a list": Poison({"prompt": []}, _500, _400),
    "no prompt": Poison({}, _400, _400),
    "a list": Poison([], _400, _400),
    "a prompt without an output": _ran({"1": LONELY}, _400, _400),
    "a slot as text": _ran(saved(images=["1", "0"]), _400, _400),
    "meta too deep to be copied": _ran({**GOOD, "9": {**LONELY, "_meta": {"x": nested(600)}}}, _WORKER, _WORKER),
    "objects too deep for the cache": _ran(saved(other=nested(486, objects=True)), _WORKER, _WORKER),
    "lists that the cache just takes": _ran(saved(other=nested(484)), _SUCCESS, _SUCCESS),
    "lists too deep for the cache of newer servers": _ran(saved(other=nested(485)), _WORKER, _SUCCESS),
    "lists too deep for the cache": _ran(saved(other=nested(486)), _WORKER, _WORKER),
    "lists too deep to be copied": _ran(saved(other=nested(600)), _WORKER, _WORKER),
    "lists too deep in a node that no output needs": _ran({**GOOD, "9": more_inputs(x=nested(486))}, _WORKER, _WORKER),
}

LINKS: dict[str, Poison] = {
    "a long chain": _ran(chain(979), _SUCCESS, _SUCCESS),
    "a chain that newer servers die of": _ran(chain(980), _WORKER, _SUCCESS),
    "a chain that servers die of": _ran(chain(982), _WORKER, _WORKER),
    "a chain that servers refuse": _ran(chain(985), _400, _400),
    "a long chain that no output needs": _ran({**GOOD, **loose(979)}, _SUCCESS, _SUCCESS),
    "a chain that newer servers die of, though no output needs it": _ran({**GOOD, **loose(980)}, _WORKER, _SUCCESS),
    "a chain that servers die of, though no output needs it": _ran({**GOOD, **loose(982)}, _WORKER, _WORKER),
    "a chain of odd numbers of outputs": _ran({**GOOD, **loose(990, 0.0)}, _WORKER, _WORKER),
    "a chain of outputs before the first": _ran({**GOOD, **loose(990, -1)}, _WORKER, _WORKER),
    "a chain of outputs that are true": _ran({**GOOD, **loose(990, True)}, _WORKER, _WORKER),
    "a chain from nowhere": _ran({**GOOD, **loose(979), "c0": inverted("nowhere")}, _WORKER, _SUCCESS),
    "a cycle": _ran({**saved(), "1": inverted("3"), "3": inverted("1")}, _400, _400),
    "a cycle that no output needs": _ran({**GOOD, **loose(2, ring=True)}, _SUCCESS, _SUCCESS),
    "a cycle that servers just stand": _ran({**GOOD, **loose(978, ring=True)}, _SUCCESS, _SUCCESS),
    "a long cycle that no output needs": _ran({**GOOD, **loose(979, ring=True)}, _WORKER, _SUCCESS),
    "a longer cycle that no output needs": _ran({**GOOD, **loose(981, ring=True)}, _WORKER, _WORKER),
    "a chain behind a cycle": _ran({**GOOD, **loose(990), "c0": inverted("c1")}, _WORKER, _WORKER),
    "a node that needs itself, by an input that there is not": _ran(saved(other=["2", 0]), _SUCCESS, _SUCCESS),
    "a node that needs itself, after a job that failed": _ran(
        saved(other=["2", 0]), _ERROR, _ERROR, first=saved(other=["1", 0])
    ),
    "a cycle by an input that there is not": _ran(saved() | {"1": more_inputs(x=["2", 0])}, _SUCCESS, _SUCCESS),
    "a cycle behind a node that needs it": _ran(saved() | {"1": more_inputs(x=["1", 0])}, _SUCCESS, _SUCCESS),
    "a link to nowhere": _ran(saved(images=["7", 0]), _400, _400),
    "a link to nowhere of an input that there is not": _ran(saved(other=["99", 0]), _WORKER, _WORKER),
    "a link to half an output of nowhere": _ran(saved(other=["99", 0.5]), _WORKER, _WORKER),
    "a link to nowhere further up": _ran(saved() | {"1": more_inputs(x=["9", 0])}, _WORKER, _WORKER),
    "a link to nowhere that a switch takes": _ran(switch(False), _ERROR, _ERROR),
    "a link to nowhere that a switch does not take": _ran(switch(True), _SUCCESS, _SUCCESS),
    **_slots(),
}

BESIDE: dict[str, Poison] = {
    "a client that is an object": _beside(_PROCESS, _PROCESS, client_id={}),
    "a client that is a list": _beside(_PROCESS, _PROCESS, client_id=["x"]),
    "a client in the extra data that is an object": _beside(_PROCESS, _PROCESS, extra_data={"client_id": {}}),
    "a client in the extra data that is a list": _beside(_PROCESS, _PROCESS, extra_data={"client_id": ["x"]}),
    "a client that is a number": _beside(_SUCCESS, _SUCCESS, client_id=5),
    "extra data that is text": _beside(_500, _500, extra_data="x"),
    "extra data that is null": _beside(_500, _500, extra_data=None),
    "extra data too deep to be copied": _beside(_WORKER, _WORKER, extra_data={"x": nested(496)}),
    "a picture's info that is a list": _beside(_LISTS, _LISTS, extra_data={"extra_pnginfo": [1]}),
    "a picture's info that is empty": _beside(_LISTS, _LISTS, extra_data={"extra_pnginfo": []}),
    "a picture's info that is null": _beside(_LISTS, _LISTS, extra_data={"extra_pnginfo": None}),
    "a picture's info that is text": _beside(_LISTS, _LISTS, extra_data={"extra_pnginfo": "x"}),
    "a picture's info that is a number": _beside(_LISTS, _LISTS, extra_data={"extra_pnginfo": 5}),
    "a picture's workflow that is text": _beside(_LISTS, _LISTS, extra_data=_drawn("x")),
    "a picture's workflow that is null": _beside(_LISTS, _LISTS, extra_data=_drawn(None)),
    "a picture's workflow that is a list": _beside(_LISTS, _LISTS, extra_data=_drawn([])),
    "a picture's workflow that is a number": _beside(_LISTS, _LISTS, extra_data=_drawn(5)),
    "a number that is text": _beside(_500, _500, number="first"),
    "a number that is none": _beside(_SUCCESS, _SUCCESS, number=math.nan),
    "a number without end": _beside(_SUCCESS, _SUCCESS, number=math.inf),
    "a number beyond reason": _beside(_SUCCESS, _SUCCESS, number=1e300),
    "targets that are text": _beside(_400, _400, partial_execution_targets="nothing"),
    "targets that are an object": _beside(_400, _400, partial_execution_targets={}),
    "half a character": _ran(saved(x="\ud83d"), _SUCCESS, _SUCCESS),
    "half a character in a file's name": _ran(saved(filename_prefix="\ud83d"), _ERROR, _ERROR),
    "half a character in a node's name": _ran({**GOOD, "\udfff": LONELY}, _SUCCESS, _SUCCESS),
    "half a character beside the prompt": _beside(_SUCCESS, _SUCCESS, extra_data={"x": "\ud83d"}),
    "half a character as the client": _beside(_SUCCESS, _SUCCESS, client_id="\ud83d"),
}


def _camera(camera: object) -> Poison:
    """A preview of a 3D model that shows this as its camera."""
    shown = {"class_type": "Preview3D", "inputs": {"model_file": "x", "camera_info": camera}}
    return _ran({"1": shown}, _LISTS, _LISTS)


SHOWN: dict[str, Poison] = {
    "a camera whose filename is a number": _camera({"filename": 5}),
    "a camera whose filename is null": _camera({"filename": None}),
    "a camera whose filename is a list": _camera({"filename": ["x"]}),
    "a camera whose format is a number": _camera({"format": 5}),
}

POISON: dict[str, Poison] = {**MALFORMED, **LINKS, **BESIDE, **SHOWN}
