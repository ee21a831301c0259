"""Prompts: encoded, combined, and steered by pictures."""

from __future__ import annotations

from comfyops.simulator.call import NodeCall
from comfyops.simulator.nodes.given import Given, guides, merged
from comfyops.simulator.values import Conditioning

_EMPTY = frozenset({"ConditioningZeroOut"})


def conditioning(call: NodeCall, facts: Given, index: int) -> Conditioning:
    """Output number `index` of any node that gives a prompt.

    An output named like an input ("positive", "negative") goes on from that input; other outputs go on from all. What
    pictures came in steer every output except a negative one.
    """
    name = call.node_type.outputs[index].name.lower()
    negative = name.startswith("neg")
    own = facts.values.get(name)
    sources = [own] if isinstance(own, Conditioning) else _sources(facts, negative)
    base = merged(facts, sources)
    texts = [] if sources or facts.class_type in _EMPTY else facts.prompts()
    text = ", ".join(dict.fromkeys(texts)) or base.text
    steering = () if negative else guides(facts, _weight(facts))
    blank = facts.class_type in _EMPTY
    return Conditioning("" if blank else text, facts.digest, () if blank else base.guides + steering)


def _sources(facts: Given, negative: bool) -> list[Conditioning]:
    named = {key: value for key, value in facts.values.items() if isinstance(value, Conditioning)}
    chosen = [value for key, value in named.items() if ("neg" in key) == negative]
    return chosen or list(named.values())


def _weight(facts: Given) -> float:
    """How much of a picture shows: little of a control picture, half of an edited one, most of a first frame."""
    if "ControlNet" in facts.class_type or "Control" in facts.class_type:
        return 0.22 * min(max(facts.number("strength", default=1.0), 0.0), 2.0)
    if "start_image" in facts.values or "init_image" in facts.values or "ToVideo" in facts.class_type:
        return 0.6
    return 0.45
