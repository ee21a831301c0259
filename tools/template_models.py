"""Write the list of models that the official templates name, from the installed package of templates.

    python tools/template_models.py            writes src/comfyops/models/data/templates.json
    python tools/template_models.py --check    says whether it is up to date

A file that only switched-off nodes name (muted, bypassed, or inside such a subgraph) is optional for its template.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TARGET = Path(__file__).parents[1] / "src" / "comfyops" / "models" / "data" / "templates.json"
OFF = (2, 4)  # muted, bypassed


def models_of(workflow: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """(model, whether a node that runs names it) for each model that a workflow names."""
    subgraphs = {item["id"]: item for item in (workflow.get("definitions") or {}).get("subgraphs") or []}
    yield from _models(workflow.get("nodes") or [], subgraphs, True, set())


def _models(nodes: list[Any], subgraphs: Any, runs: bool, above: set[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    for node in nodes:
        active = runs and node.get("mode", 0) not in OFF
        for model in (node.get("properties") or {}).get("models") or []:
            yield model, active
        kind = node.get("type")
        if kind in subgraphs and kind not in above:
            yield from _models(subgraphs[kind].get("nodes") or [], subgraphs, active, above | {kind})


def collected(folder: Path) -> list[dict[str, Any]]:
    """All models of the templates in a folder, by folder and file."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(workflow, dict):
            continue
        used: dict[tuple[str, str], bool] = {}
        for model, active in models_of(workflow):
            key = (model["directory"], model["name"])
            entry = found.setdefault(
                key, {"urls": {}, "sha256": None, "hashed": "", "required_in": [], "optional_in": []}
            )
            entry["urls"][_address(model["url"])] = entry["urls"].get(_address(model["url"]), 0) + 1
            if str(model.get("hash_type")).upper() == "SHA256":
                entry["sha256"], entry["hashed"] = model["hash"].lower(), _address(model["url"])
            used[key] = used.get(key, False) or active
        for key, active in used.items():
            found[key]["required_in" if active else "optional_in"].append(path.stem)
    return [_written(key, found[key]) for key in sorted(found)]


def _written(key: tuple[str, str], entry: dict[str, Any]) -> dict[str, Any]:
    hashed = entry.pop("hashed")  # the address that the hash was given with goes first
    urls = sorted(entry["urls"], key=lambda url: (url != hashed, _kind(url, key[1]), -entry["urls"][url], url))
    data = {"folder": key[0], "file": key[1], **entry, "urls": urls}
    return {name: value for name, value in data.items() if value}


def _kind(url: str, file: str) -> int:
    """0 where the address ends in the file's name, 1 where it is another file's."""
    return 0 if url.endswith("/" + file) else 1


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"https://{parts.netloc}{parts.path.replace('/blob/', '/resolve/', 1)}"


def main() -> int:
    """Write or check; 1 where the check finds the list out of date."""
    folder = Path(str(files("comfyui_workflow_templates_json"))) / "templates"
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in collected(folder))
    package = f"comfyui-workflow-templates-json {version('comfyui-workflow-templates-json')}"
    text = f'{{"schema": "models/1", "from": "{package}", "models": [\n{lines}\n]}}\n'
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
