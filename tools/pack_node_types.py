"""Pack a recorded GET /object_info into the package's node facts.

    python tools/pack_node_types.py VERSION OBJECT_INFO.json

Prose (tooltips, descriptions) is left out, and so are the recording server's own lists of model and input files, which
say nothing about another server. tools/model-folders-VERSION.json says which inputs list files, and of which models
folder ("input": the input folder); it was read off a server of that version.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from comfyops.workflows.node_types import without_prose

TOOLS = Path(__file__).parent
DATA = TOOLS.parent / "src" / "comfyops" / "workflows" / "data"
MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".yaml")


def pack(version: str, source: Path) -> Path:
    """Write the packed facts and return where they are."""
    folders = json.loads((TOOLS / f"model-folders-{version}.json").read_text())
    nodes = without_prose(json.loads(source.read_text()))
    for class_type, inputs in folders.items():
        for name, folder in inputs.items():
            drop_files(nodes[class_type]["input"], name, folder)
    text = json.dumps({"version": version, "nodes": nodes, "folders": folders}, separators=(",", ":"))
    target = DATA / f"node_types-{version}.json.gz"
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return target


def drop_files(groups: dict[str, Any], name: str, folder: str) -> None:
    """Leave only what is no file in the list of one input."""
    for specs in groups.values():
        spec = specs.get(name)
        if spec is None:
            continue
        choices = spec[0] if isinstance(spec[0], list) else spec[1].get("options", [])
        choices[:] = [choice for choice in choices if folder != "input" and not str(choice).endswith(MODEL_SUFFIXES)]
        if len(spec) > 1 and spec[1].get("default") not in choices:
            spec[1].pop("default", None)


if __name__ == "__main__":
    print(pack(sys.argv[1], Path(sys.argv[2])))
