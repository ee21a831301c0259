"""One input of a workflow, as a value: its name, what it takes, which nodes it sets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfyops.workflows.graph import Value
from comfyops.workflows.inputs.tracing import Place


class InputKind(StrEnum):
    """What an input takes."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"  # one of `choices`
    MODEL = "model"  # the name of a file in the models folder `folder`
    IMAGE = "image"  # these five: the name of a file in the server's input folder
    MASK = "mask"
    VIDEO = "video"
    AUDIO = "audio"
    FILE = "file"


UPLOADS = frozenset({InputKind.IMAGE, InputKind.MASK, InputKind.VIDEO, InputKind.AUDIO, InputKind.FILE})
"""Kinds whose value is a file that is put on the server first."""


class Encoding(StrEnum):
    """How a value gets into the graph."""

    VALUE = "value"  # as it is
    UPLOAD = "upload"  # a file is uploaded; the server's name for it is set
    ALPHA = "alpha"  # a mask becomes the alpha channel of the picture that its target loads


@dataclass(frozen=True, slots=True)
class WorkflowInput:
    """One input: `name` to set it by, `aliases` that mean the same, the `targets` it sets, its value in the graph.

    `minimum` and `maximum` are what all targets take; `choices` is None where any value goes or the server's are not
    known. `required` tells that there is no usable value yet: no value, or a file that the server may not have.
    """

    name: str
    title: str
    kind: InputKind
    default: Value
    targets: tuple[Place, ...]
    role: str = ""
    minimum: float | int | None = None
    maximum: float | int | None = None
    choices: tuple[Any, ...] | None = None
    required: bool = False
    multiline: bool = False
    folder: str = ""
    encoding: Encoding = Encoding.VALUE
    aliases: tuple[str, ...] = ()
    description: str = ""
