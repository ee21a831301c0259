"""Packs of custom nodes that other tools have written down, with their commits. Pure.

Known: a lock of ours (`nodes`), comfy-lock.yaml (`custom_nodes` by name with `url` and `hash`), comfy-pack's snapshot
(`custom_nodes`, a list of `url` and `commit_hash`) and ComfyUI-Manager's snapshot (`git_custom_nodes` by address with
`hash`, `cnr_custom_nodes` by name with a version).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.deploy.packs.request import PackRequest, check_url, is_name, name_of, parse
from comfyops.errors import NodePackError, UsageError


def requests(data: Any, where: str) -> tuple[PackRequest, ...]:
    """The packs of a manifest; those that are switched off are left out.

    Raises NodePackError where it is none that is known, or names something that is no pack.
    """
    if not isinstance(data, Mapping) or not _KEYS & data.keys():
        raise NodePackError(f"{where} lists no packs of nodes.", hint=_HINT)
    try:
        return tuple(_all(data))
    except UsageError as error:
        raise NodePackError(f"{where}: {error.message}", hint=error.hint) from error


def _all(data: Mapping[str, Any]) -> Iterator[PackRequest]:
    for name, item in _pairs(data.get("nodes")):
        yield _request(name, item.get("url"), item.get("commit") or item.get("version"))
    listed = data.get("custom_nodes")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, Mapping) and not item.get("disabled"):
            yield _request("", item.get("url"), item.get("commit_hash") or item.get("hash"))
    for name, item in _pairs(listed):
        if not item.get("disabled"):
            yield _request(name, item.get("url"), item.get("hash") or item.get("commit_hash"))
    for url, item in _pairs(data.get("git_custom_nodes")):
        if not item.get("disabled"):
            yield _request("", url, item.get("hash"))
    registry = data.get("cnr_custom_nodes")
    for name, version in registry.items() if isinstance(registry, Mapping) else ():
        yield _request(str(name), "", version)


def _pairs(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, Mapping):
            yield str(name), item


def _request(name: str, url: Any, pin: Any) -> PackRequest:
    address = check_url(url) if isinstance(url, str) and url else ""
    chosen = name if is_name(name) else name_of(address)
    if not is_name(chosen):
        raise UsageError(f"{(name or url)!r} names no pack of nodes.", hint=_HINT)
    pinned = parse(f"{chosen}@{pin}").pin if isinstance(pin, str) and pin else ""
    return PackRequest(chosen, address, pinned)


_KEYS = {"nodes", "custom_nodes", "git_custom_nodes", "cnr_custom_nodes"}
_HINT = "Known are comfyops.lock, comfy-lock.yaml, comfy-pack's snapshot.json and ComfyUI-Manager's snapshots."
