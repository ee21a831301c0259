"""Where nodes read and write files: ComfyUI's names with counters, folders that are not left, facts written inside."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from comfyops.simulator.call import Host, NodeCall
from comfyops.support.files import safe_path, write_bytes

_ANNOTATION = re.compile(r"^(.*) \[(input|output|temp)\]$")
_TEMP_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Place:
    """Where one call's files go: `folder`/`name`_00001_.ext and up, shown as `subfolder` of `type`."""

    folder: Path
    subfolder: str
    name: str
    counter: int
    type: str

    def write(self, data: bytes, extension: str, index: int = 0, tail: str = "_") -> dict[str, str]:
        """Write the file number `index` of this call and return what ComfyUI says of it.

        `tail` stands between the number and the dot.

        Raises DiskFullError and StorageError.
        """
        name = f"{self.name.replace('%batch_num%', str(index))}_{self.counter + index:05}{tail}.{extension}"
        write_bytes(self.folder / name, data)
        return {"filename": name, "subfolder": self.subfolder, "type": self.type}


def place_for(call: NodeCall, prefix: str, width: int = 0, height: int = 0, *, temporary: bool = False) -> Place:
    """The place for files with this prefix, which may hold subfolders and %width%, %height%, %year%, ... %second%.

    The counter goes on from the highest that is there. Raises ValueError for a prefix that leaves the output folder.
    """
    host = call.host
    root = host.temp_folder if temporary else host.output_folder
    subfolder, name = os.path.split(os.path.normpath(_with_values(prefix, width, height)))
    folder = root / subfolder
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"Files may not be saved outside of the output folder: {prefix!r}")
    return Place(
        folder=folder,
        subfolder=subfolder,
        name=name,
        counter=_next_counter(folder, name),
        type="temp" if temporary else "output",
    )


def temp_prefix(prefix: str = "ComfyUI") -> str:
    """A prefix for previews, with five random letters as the real server has them."""
    return f"{prefix}_temp_" + "".join(random.choice(_TEMP_LETTERS) for _ in range(5))


def input_path(host: Host, name: str, folder: str = "input") -> Path:
    """The file behind an input's value: a name, perhaps with subfolders and an ending such as " [output]".

    Raises UnsafeNameError where it leaves its folder and FileNotFoundError where there is none.
    """
    annotated = _ANNOTATION.match(name)
    if annotated:
        name, folder = annotated.group(1), annotated.group(2)
    roots = {"input": host.input_folder, "output": host.output_folder, "temp": host.temp_folder}
    path = safe_path(roots[folder], name)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {name!r} in the {folder} folder")
    return path


def metadata(call: NodeCall) -> dict[str, str]:
    """What goes into a saved file: the prompt, the client's extra data, and who simulated the content."""
    texts = {"prompt": json.dumps(call.prompt)}
    texts.update({str(key): json.dumps(value) for key, value in (call.extra_pnginfo or {}).items()})
    simulated = simulated_by(call)
    if simulated:
        texts["comfyops_simulated"] = json.dumps(
            {"simulated": True, "by": "comfyops simulator", "classes": simulated, "note": "No model was run."}
        )
    return texts


def simulated_by(call: NodeCall) -> list[str]:
    """Classes of the nodes before this one whose work was simulated and not computed, sorted."""
    from comfyops.simulator.nodes import is_computed

    found: set[str] = set()
    seen: set[str] = set()
    pending = [call.node_id]
    while pending:
        node_id = pending.pop()
        node = call.prompt.get(node_id)
        if node_id in seen or not isinstance(node, Mapping):
            continue
        seen.add(node_id)
        name = str(node.get("class_type"))
        if node_id != call.node_id and not is_computed(name):
            found.add(name)
        pending.extend(_sources(node.get("inputs")))
    return sorted(found)


def _sources(inputs: Any) -> list[str]:
    values = inputs.values() if isinstance(inputs, Mapping) else ()
    return [str(value[0]) for value in values if isinstance(value, list | tuple) and len(value) == 2]


def _with_values(prefix: str, width: int, height: int) -> str:
    now = datetime.now()
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.year),
        "month": f"{now.month:02}",
        "day": f"{now.day:02}",
        "hour": f"{now.hour:02}",
        "minute": f"{now.minute:02}",
        "second": f"{now.second:02}",
    }
    return re.sub(r"%(\w+)%", partial(_value, values), prefix)


def _value(values: Mapping[str, str], match: re.Match[str]) -> str:
    return values.get(match.group(1), match.group(0))


def _next_counter(folder: Path, name: str) -> int:
    pattern = re.compile(re.escape(name) + r"_(\d+)(?:[_.].*)?$")
    numbers = [0]
    if folder.is_dir():
        for entry in folder.iterdir():
            found = pattern.match(entry.name)
            if found:
                numbers.append(int(found.group(1)))
    return max(numbers) + 1
