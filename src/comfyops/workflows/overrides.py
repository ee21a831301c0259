"""Setting inputs of a graph by name, as `--set prompt="a cat" --set 7.seed=3` does.

`NODE.INPUT` names one input, the node by its id, title or class. A bare name is an input of any node: `seed` sets every
seed, `prompt` and `negative` the texts that feed samplers' positive and negative inputs. Any other name that fits
several inputs is refused, with the full names to choose from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from comfyops.errors import UnknownInputError
from comfyops.workflows.explain import nearest
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import InputType, NodeTypes

_SEEDS = ("seed", "noise_seed")
_ROLES = {"prompt": "positive", "negative": "negative"}
_TEXTS = ("text", "prompt", "text_g", "text_l", "t5xxl", "clip_l", "value")


def apply(graph: Graph, changes: Mapping[str, str], types: NodeTypes) -> Graph:
    """The graph with these inputs set; texts are read as what the input takes.

    Raises UnknownInputError for a name that fits nothing or too much, and for a text that is no such value.
    """
    for name, text in changes.items():
        for node_id, input_name in targets(graph, name):
            value = parse(text, declared(graph[node_id], input_name, types), f"{node_id}.{input_name}")
            graph = graph.with_input(node_id, input_name, value)
    return graph


def targets(graph: Graph, name: str) -> tuple[tuple[str, str], ...]:
    """The (node id, input) pairs that a name means.

    Raises UnknownInputError.
    """
    found = tuple(_full(graph, name)) or tuple(_bare(graph, name))
    if not found and name in _ROLES:
        words = f"No text of its own feeds a {_ROLES[name]} input of the workflow; name an input as NODE.INPUT."
        raise UnknownInputError(words, name=name)
    if not found:
        near = nearest(name, _names(graph))
        words = f" Nearest: {', '.join(near)}." if near else ""
        raise UnknownInputError(f"The workflow has no input {name!r} to set.{words}", name=name, suggestions=near)
    if len(found) > 1 and name not in (*_SEEDS, *_ROLES):
        choices = tuple(f"{node_id}.{input_name}" for node_id, input_name in found)
        words = f"{name!r} is an input of several nodes; say which: {', '.join(choices)}."
        raise UnknownInputError(words, name=name, suggestions=choices)
    return found


def declared(node: Node, name: str, types: NodeTypes) -> InputType | None:
    """What the node's class says of an input, None where nothing is known."""
    class_type = node.class_type or ""
    return types[class_type].input(name) if class_type in types else None


def parse(text: str, item: InputType | None, where: str) -> Value:
    """A text as the value that an input takes.

    Raises UnknownInputError where it is no such value.
    """
    kind = item.kind if item else "STRING"
    try:
        if kind in _READERS:
            return _READERS[kind](text)
    except (ValueError, KeyError):
        words = f"{where} takes {_WORDS[kind]}, which {text[:60]!r} is not."
        raise UnknownInputError(words, hint="Give a value that the input takes.", name=where) from None
    choices = item.choices if item and item.choices else ()
    return next((choice for choice in choices if str(choice) == text), text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


_READERS: Mapping[str, Callable[[str], Value]] = {"INT": int, "FLOAT": _finite, "BOOLEAN": _boolean}
_WORDS = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}


def _full(graph: Graph, name: str) -> Iterator[tuple[str, str]]:
    """Inputs of the nodes before a dot of the name; both may hold dots themselves."""
    node_name, dot, input_name = name.partition(".")
    while dot:
        for node in _called(graph, node_name):
            if input_name in _settable(node):
                yield node.id, input_name
        more, dot, input_name = input_name.partition(".")
        node_name = f"{node_name}.{more}"


def _called(graph: Graph, name: str) -> tuple[Node, ...]:
    """The node with this id, else those with this title, else those of this class."""
    if name in graph:
        return (graph[name],)
    return tuple(node for node in graph if node.title == name) or graph.of_class(name)


def _bare(graph: Graph, name: str) -> Iterator[tuple[str, str]]:
    if name in _ROLES:
        # One text may feed both, its negative zeroed out on the way: it is the positive one.
        shared = set(_texts(graph, "positive")) if name == "negative" else set()
        yield from dict.fromkeys(item for item in _texts(graph, _ROLES[name]) if item not in shared)
        return
    names = _SEEDS if name == "seed" else (name,)
    for node in graph:
        for input_name in names:
            if input_name in _settable(node):
                yield node.id, input_name


def _texts(graph: Graph, role: str) -> Iterator[tuple[str, str]]:
    """Text inputs upstream of inputs of this role; in a graph without such roles, every text of an encoder."""
    roles = [link.node for node in graph for name, link in node.links() if name == role and link.node in graph]
    if not roles and role == "positive":
        roles = [node.id for node in graph]
    other = "negative" if role == "positive" else "positive"
    seen: set[str] = set()
    while roles:
        node = graph[roles.pop(0)]
        if node.id in seen:
            continue
        seen.add(node.id)
        texts = [name for name in _TEXTS if isinstance((node.inputs or {}).get(name), str)]
        yield from ((node.id, name) for name in texts)
        if not texts:
            roles += [link.node for name, link in node.links() if name != other and link.node in graph]


def _settable(node: Node) -> list[str]:
    return [name for name, value in (node.inputs or {}).items() if type(value) is not Link]


def _names(graph: Graph) -> Iterator[str]:
    for node in graph:
        for name in _settable(node):
            yield name
            yield from (f"{called}.{name}" for called in (node.id, node.title, node.class_type) if called)
