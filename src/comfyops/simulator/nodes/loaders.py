"""Models: loading files, and patching what was loaded. A model is a `Thing` that names its files."""

from __future__ import annotations

from comfyops.simulator.call import NodeCall
from comfyops.simulator.nodes.given import Given, model_files
from comfyops.simulator.values import Thing


async def load_files(call: NodeCall) -> None:
    """Make every model file that the inputs name resident."""
    for folder, name in model_files(call):
        await call.host.load_model(folder, name)


def model(call: NodeCall, facts: Given, kind: str) -> Thing:
    """A model output: the one that came in with what this node adds, or a new one from the files it names."""
    before = [thing for thing in facts.all_of(Thing) if thing.kind == kind]
    files = dict.fromkeys(file for thing in before for file in thing.files)
    files.update(dict.fromkeys(name for _, name in model_files(call)))
    return Thing(kind, facts.class_type, tuple(files), facts.digest)
