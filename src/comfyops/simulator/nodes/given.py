"""What a node was given, sorted by kind: the base of everything that is simulated from types alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from comfyops.simulator.call import NodeCall
from comfyops.simulator.nodes.define import converted
from comfyops.simulator.values import Conditioning, Guide, Latent, Thing, fingerprint
from comfyops.workflows.node_types import known_folders

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

T = TypeVar("T")

_PROMPT_NAMES = ("prompt", "text", "positive_prompt", "tags", "caption", "description", "prompt_text")
_IGNORED_TEXTS = ("negative", "filename_prefix", "lyrics", "system", "folder", "model", "voice", "url")


@dataclass(frozen=True)
class Given:
    """The inputs of one call by flat name; those of a list class are the first of each list."""

    class_type: str
    values: Mapping[str, Any]
    digest: str

    def all_of(self, kind: type[T]) -> list[T]:
        """Inputs of one kind of value, in the order given."""
        return [value for value in self.values.values() if isinstance(value, kind)]

    def first(self, kind: type[T]) -> T | None:
        """The first input of one kind of value."""
        return next(iter(self.all_of(kind)), None)

    def things(self, kind: str) -> list[Thing]:
        """Models, encoders and the like of this type word."""
        return [thing for thing in self.all_of(Thing) if thing.kind == kind]

    def images(self) -> list[Array]:
        """Batches of pictures."""
        return [value for value in self.values.values() if getattr(value, "ndim", 0) == 4]

    def masks(self) -> list[Array]:
        """Batches of masks."""
        return [value for value in self.values.values() if getattr(value, "ndim", 0) == 3 and hasattr(value, "dtype")]

    def number(self, *names: str, default: float = 0) -> float:
        """The first of these inputs that holds a number."""
        for name in names:
            for key, value in self.values.items():
                if key.rsplit(".", 1)[-1] == name and isinstance(value, int | float) and not isinstance(value, bool):
                    return value
        return default

    def whole(self, *names: str, default: int = 0) -> int:
        """`number`, without its fraction."""
        return int(self.number(*names, default=default))

    def text(self, *names: str) -> str:
        """The first of these inputs that holds text."""
        return next((str(self.values[name]) for name in names if isinstance(self.values.get(name), str)), "")

    def prompts(self) -> list[str]:
        """Inputs that read like a prompt: those with a prompt's name, else any longer text."""
        named = [value for name, value in self._texts() if name.rsplit(".", 1)[-1] in _PROMPT_NAMES]
        return named or [
            value
            for name, value in self._texts()
            if not any(word in name for word in _IGNORED_TEXTS) and (" " in value or name.startswith(("text", "clip")))
        ]

    def _texts(self) -> Iterator[tuple[str, str]]:
        return ((name, value) for name, value in self.values.items() if isinstance(value, str) and value)


def given(call: NodeCall) -> Given:
    """The inputs of a call, sorted; numbers as declared."""
    values: dict[str, Any] = {}
    for name, value in call.inputs.items():
        if call.node_type.is_input_list and isinstance(value, list | tuple) and value:
            value = value[0]
        declared = call.node_type.input(name)
        values[name] = _as_declared(value, declared.kind) if declared else value
    return Given(call.node_type.name, values, fingerprint(call.node_type.name, values))


def _as_declared(value: Any, kind: str) -> Any:
    """The value converted, or as it is where it is something else (an input may have taken a link)."""
    try:
        return converted(value, kind) if isinstance(value, int | float | str) else value
    except ValueError:
        return value


def model_files(call: NodeCall) -> list[tuple[str, str]]:
    """(folder, file) of each model file that the inputs name."""
    folders = known_folders().get(call.node_type.name, {})
    found = []
    for name, value in call.inputs.items():
        folder = folders.get(name)
        value = value[0] if call.node_type.is_input_list and isinstance(value, list | tuple) and value else value
        if folder and folder not in ("input", "output", "configs") and isinstance(value, str) and value != "None":
            found.append((folder, value))
    return found


def guides(facts: Given, weight: float) -> tuple[Guide, ...]:
    """The pictures among the inputs, and those behind latents, as guides."""
    pictures = facts.images()
    pictures += [latent.pixels for latent in facts.all_of(Latent) if latent.pixels is not None]
    return tuple(Guide(picture[:1], weight) for picture in pictures)


def merged(facts: Given, conditionings: list[Conditioning]) -> Conditioning:
    """Several conditionings as one: their texts, their guides."""
    texts = dict.fromkeys(one.text for one in conditionings if one.text)
    return Conditioning(", ".join(texts), facts.digest, tuple(guide for one in conditionings for guide in one.guides))
