"""A folder of models, catalogs and a simulated hub for the tests of models."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

from comfyops.models import storage
from comfyops.models.catalog import Wanted
from comfyops.models.entry import ModelEntry
from comfyops.models.provision import Provision
from comfyops.models.sources import Web
from comfyops.models.transfer.request import TransferSettings
from comfyops.models.trust import Trust, parse_hosts
from comfyops.testing.model_hub import ModelHub

HF = "https://huggingface.co"


def weights(count: int = 1000, seed: int = 0) -> bytes:
    """A whole safetensors file with this many bytes of weights."""
    data = hashlib.shake_128(bytes([seed])).digest(count)
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def sha(data: bytes) -> str:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def entry(file: str = "a.safetensors", data: bytes | None = None, **fields: object) -> ModelEntry:
    """A model of the folder loras at the hub; with `data`, its size and hash are known."""
    values: dict[str, object] = {"urls": (f"{HF}/org/repo/resolve/main/{file}",)}
    if data is not None:
        values |= {"size": len(data), "sha256": sha(data)}
    return ModelEntry(**{"folder": "loras", "file": file, **values, **fields})  # type: ignore[arg-type]


def put(root: Path, item: ModelEntry, data: bytes, folder: str | None = None) -> Path:
    """Write a model's file below a folder of models."""
    path = root / (folder or item.folder) / item.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18))
    return path


def wanted(*items: ModelEntry, required: bool = True) -> list[Wanted]:
    """Models as a choice gives them."""
    return [Wanted(item, required) for item in items]


def web(hub: ModelHub, **fields: object) -> Web:
    """What asks a simulated hub, in the place of Hugging Face and Civitai."""
    own, plain = parse_hosts(f"{hub.endpoint},{hub.store}")
    trust = fields.pop("trust", None) or Trust(own, plain)
    endpoints = {HF: hub.endpoint, "https://civitai.com": hub.endpoint}
    return Web(trust, endpoints=endpoints, first_pause=0.01, **fields)  # type: ignore[arg-type]


def provision(root: Path, hub: ModelHub | None = None, **fields: object) -> Provision:
    """What works on a folder of models, with a hub or without any source."""
    asks = web(hub) if hub else Web(Trust(), offline=True)
    transfer = TransferSettings(allow=asks.trust.allow, token_for=asks.trust.token_for, attempts=2)
    return Provision(storage.of_folder(root), asks, transfer, **fields)  # type: ignore[arg-type]
