"""References to assets in a workflow: `core/ASSET` made into the queue's own, and those judged for whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.views import is_uuid
from comfyops.errors import UnknownAssetError
from comfyops.jobs.asset_records import Asset
from comfyops.jobs.queue import Queue
from comfyops.jobs.references import AssetOf, find

TYPE = "core/ASSET"
_HASH = re.compile(r"[0-9a-f]{64}")


async def resolve(workflow: Mapping[str, Any], queue: Queue, owner: str) -> dict[str, Any]:
    """The graph with each `core/ASSET` input as {"$asset": HASH}. Raises ApiError (missing_asset, 422), UsageError.

    An asset that is named by its hash has to be the owner's too: who knows a hash may not read a file by it.
    """
    await _check_own(workflow, queue, owner)
    wanted = [(node, name, value) for node, name, value in _inputs(workflow) if _is_reference(value)]
    found: dict[tuple[str, str], dict[str, str]] = {}
    missing = []
    for node, name, value in wanted:
        asset = await _asset(value.get("info"), queue, owner)
        if asset is None:
            missing.append(f"{node}.{name}")
        else:
            found[node, name] = {"$asset": asset.hash}
    if missing:
        words = f"The assets of {', '.join(missing[:10])} are not there, or not yours."
        raise ApiError(422, "missing_asset", words, inputs=missing)
    return {node: _filled(node, content, found) for node, content in workflow.items()}


async def _check_own(workflow: Mapping[str, Any], queue: Queue, owner: str) -> None:
    for reference in find(workflow):
        if isinstance(reference, AssetOf) and not await _has(queue, owner, reference.hash):
            raise ApiError(422, "missing_asset", f"You have no asset of the hash {reference.hash[:80]!r}.")


async def _has(queue: Queue, owner: str, digest: str) -> bool:
    return _HASH.fullmatch(digest) is not None and await queue.assets.has(owner, digest)


async def _asset(info: object, queue: Queue, owner: str) -> Asset | None:
    number = info.get("id") if isinstance(info, Mapping) else None
    if not isinstance(number, str) or not is_uuid(number):
        return None
    try:
        asset = await queue.assets.get(number, owner)
    except UnknownAssetError:
        return None
    return asset if asset.hash and queue.files.has(asset.hash) else None


def _is_reference(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("__type") == TYPE


def _inputs(workflow: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (node, name, value)
        for node, content in workflow.items()
        if isinstance(content, Mapping) and isinstance(content.get("inputs"), Mapping)
        for name, value in content["inputs"].items()
    ]


def _filled(node: str, content: Any, found: Mapping[tuple[str, str], Any]) -> Any:
    if not any(place[0] == node for place in found):
        return content
    inputs = {name: found.get((node, name), value) for name, value in content["inputs"].items()}
    return {**content, "inputs": inputs}
