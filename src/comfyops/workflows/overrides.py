"""Setting inputs of a graph by name, as `--set prompt="a cat" --set 7.seed=3` does.

`NODE.INPUT` names one input, the node by its id or title. A bare name is an input of any node: `seed` sets every seed,
`prompt` and `negative` the texts that feed samplers' positive and negative inputs. A bare name that could mean several
different inputs is refused, with the full names to choose from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfyops.errors import UnknownInputError
from comfyops.workflows.explain import nearest
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import InputType, NodeTypes

_SEEDS = ("seed", "noise_seed")
_TEXTS = ("text", "prompt", "text_g", "text_l", "t5xxl", "clip_l")


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
    if not found:
        near = nearest(name, {**dict.fromkeys(_names(graph)), "prompt": None, "negative": None})
        words = f" Nearest: {', '.join(near)}." if near else ""
        raise UnknownInputError(f"The workflow has no input {name!r} to set.{words}", name=name, suggestions=near)
    classes = {graph[node_id].class_type for node_id, _ in found}
    if len(found) > 1 and len(classes) > 1 and name not in (*_SEEDS, "prompt", "negative"):
        choices = ", ".join(f"{node_id}.{input_name}" for node_id, input_name in found)
        raise UnknownInputError(f"{name!r} is an input of several nodes; say which: {choices}.", name=name)
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
        if kind == "INT":
            return int(text)
        if kind == "FLOAT":
            return float(text)
        if kind == "BOOLEAN":
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except (ValueError, KeyError):
        raise UnknownInputError(f"{where} takes {kind}, which {text!r} is not.", name=where) from None
    return text


def _full(graph: Graph, name: str) -> Iterator[tuple[str, str]]:
    node_id, dot, input_name = name.partition(".")
    while dot:
        for node in graph:
            if node_id in (node.id, node.title) and input_name in _settable(node):
                yield node.id, input_name
        more, dot, input_name = input_name.partition(".")
        node_id = f"{node_id}.{more}"


def _bare(graph: Graph, name: str) -> Iterator[tuple[str, str]]:
    if name in ("prompt", "negative"):
        yield from dict.fromkeys(_texts(graph, "positive" if name == "prompt" else "negative"))
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
            yield f"{node.id}.{name}"
