"""The jobs view: queue and history in one list of uniform objects, as /api/jobs gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.simulator.queue import Item

MODERN_STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
OLDER_STATUSES = ("pending", "in_progress", "completed", "failed")

_PREVIEWABLE = frozenset({"images", "video", "audio", "3d", "text"})
_OLDER_PREVIEWABLE = frozenset({"images", "video", "audio"})
_MESHES = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_TEXTS = (".txt", ".md", ".json")
_LONGEST_TEXT = 1024
_ENDINGS = ("execution_success", "execution_error", "execution_interrupted")


def breaks_lists(entry: Mapping[str, Any]) -> bool:
    """Whether a real server fails on GET /api/jobs while it has this finished job: something that a node shows has a
    filename or a format that is no text."""
    shown = [item for _, kind, item in _items(entry["outputs"], True) if kind not in _PREVIEWABLE]
    return any(
        isinstance(item, dict)
        and not (isinstance(item.get("filename", ""), str) and isinstance(item.get("format") or "", str))
        for item in shown
    )


def queued_job(item: Item, status: str, *, modern: bool) -> dict[str, Any]:
    """The job of a prompt that waits or runs."""
    job = {
        "id": item.id,
        "status": status,
        "priority": item.number,
        "create_time": item.extra_data.get("create_time"),
        "outputs_count": 0,
        "previewable_outputs_count": 0 if modern else None,
        "workflow_id": _workflow_id(item.extra_data),
    }
    return _without_nulls(job)


def finished_job(entry: Mapping[str, Any], *, modern: bool, detailed: bool = False) -> dict[str, Any]:
    """The job of a history entry; `detailed` adds outputs, status and workflow."""
    number, prompt_id, prompt, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    end: Mapping[str, Any] = next((messages[name] for name in _ENDINGS if name in messages), {})
    preview = _preview(entry["outputs"], modern)
    job = _without_nulls(
        {
            "id": prompt_id,
            "status": _status(entry["status"]["status_str"], messages, modern),
            "priority": number,
            "create_time": extra_data.get("create_time"),
            "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
            "execution_end_time": end.get("timestamp"),
            "execution_error": messages.get("execution_error"),
            "outputs_count": sum(1 for *_, item in _items(entry["outputs"], modern) if isinstance(item, dict)),
            "previewable_outputs_count": _previewable_count(entry["outputs"]) if modern else None,
            "preview_output": preview,
            "workflow_id": _workflow_id(extra_data),
        }
    )
    if detailed:
        job["outputs"] = _normal_outputs(entry["outputs"]) if modern else entry["outputs"]
        job["execution_status"] = entry["status"]
        job["workflow"] = {"prompt": prompt, "extra_data": extra_data}
    return job


def sorted_jobs(jobs: list[dict[str, Any]], sort_by: str, order: str) -> list[dict[str, Any]]:
    """Jobs by time of creation or by how long they ran."""

    def duration(job: Mapping[str, Any]) -> int:
        start, end = job.get("execution_start_time", 0), job.get("execution_end_time", 0)
        return int(end - start) if start and end else 0

    def created(job: Mapping[str, Any]) -> int:
        return int(job.get("create_time", 0))

    return sorted(jobs, key=duration if sort_by == "execution_duration" else created, reverse=order == "desc")


def _status(status: str, messages: Mapping[str, Any], modern: bool) -> str:
    if status == "success":
        return "completed"
    return "cancelled" if modern and "execution_interrupted" in messages else "failed"


def _workflow_id(extra_data: Mapping[str, Any]) -> Any:
    return extra_data.get("extra_pnginfo", {}).get("workflow", {}).get("id")


def _items(outputs: Mapping[str, Any], modern: bool) -> Iterator[tuple[str, str, Any]]:
    """(node, kind, item) of each thing shown; a text that names a 3D file counts as that file on 0.33."""
    for node_id, shown in outputs.items():
        for kind, items in shown.items():
            if kind == "animated" or not isinstance(items, list):
                continue
            for item in items:
                yield node_id, kind, _as_mesh(item) if modern and isinstance(item, str) else item


def _as_mesh(text: str) -> Any:
    if text.lower().endswith(_MESHES):
        return {"filename": text, "type": "output", "subfolder": "", "mediaType": "3d"}
    return text


def _is_previewable(kind: str, item: Mapping[str, Any], modern: bool) -> bool:
    if kind in (_PREVIEWABLE if modern else _OLDER_PREVIEWABLE):
        return True
    name = str(item.get("filename", "")).lower()
    form = str(item.get("format") or "")
    return form.startswith(("video/", "audio/")) or name.endswith(_MESHES) or (modern and name.endswith(_TEXTS))


def _previewable_count(outputs: Mapping[str, Any]) -> int:
    return sum(
        1 for _, kind, item in _items(outputs, True) if isinstance(item, dict) and _is_previewable(kind, item, True)
    )


def _preview(outputs: Mapping[str, Any], modern: bool) -> dict[str, Any] | None:
    """The one output to show: a saved picture first, then any picture, then text (0.33)."""
    ranked: dict[int, dict[str, Any]] = {}
    for node_id, kind, item in _items(outputs, modern):
        if isinstance(item, dict):
            if _is_previewable(kind, item, modern):
                is_text = kind == "text" or str(item.get("filename", "")).lower().endswith(_TEXTS)
                rank = 2 if is_text else 0 if item.get("type") == "output" else 1
                ranked.setdefault(rank, {**item, "nodeId": node_id, "mediaType": item.get("mediaType", kind)})
        elif modern and kind == "text":
            ranked.setdefault(3, {**_text_preview(str(item)), "nodeId": node_id, "mediaType": kind})
    return ranked[min(ranked)] if ranked else None


def _text_preview(text: str) -> dict[str, Any]:
    if len(text) <= _LONGEST_TEXT:
        return {"content": text}
    return {"content": text[:_LONGEST_TEXT], "truncated": True}


def _normal_outputs(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        node_id: {
            kind: [_as_mesh(item) if isinstance(item, str) else item for item in items]
            if isinstance(items, list) and kind != "animated"
            else items
            for kind, items in shown.items()
        }
        for node_id, shown in outputs.items()
    }


def _without_nulls(job: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if value is not None}
