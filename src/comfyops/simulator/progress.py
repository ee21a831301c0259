"""Progress messages of a run: the state of every node that has started, repeated at each change."""

from __future__ import annotations

import json
import struct
from typing import Any

from comfyops.simulator.sockets import PREVIEW_IMAGE, PREVIEW_IMAGE_WITH_METADATA, TEXT, Sockets

_PNG = b"\x89PNG"


class Progress:
    """The progress of one run, told to its client (None = to every socket)."""

    def __init__(self, sockets: Sockets, prompt_id: str, client_id: Any) -> None:
        self._sockets = sockets
        self._prompt_id = prompt_id
        self._client_id = client_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node_id: str) -> None:
        """A node starts."""
        self._set(node_id, 0.0, 1.0, "running")

    def update(self, node_id: str, value: int, maximum: int, picture: bytes | None = None) -> None:
        """A node got on; `picture` (JPEG or PNG) goes out in the form that the client negotiated."""
        self._set(node_id, value, maximum, "running")
        with_metadata = self._wants_metadata()
        if picture and with_metadata:
            self.picture(node_id, picture)
        data = {"value": value, "max": maximum, "prompt_id": self._prompt_id, "node": node_id}
        self._sockets.publish_json("progress", data, self._client_id)
        if picture and not with_metadata:
            self.picture(node_id, picture)

    def picture(self, node_id: str, picture: bytes) -> None:
        """Send a picture: with metadata where the client negotiated that, else bare."""
        if self._wants_metadata():
            self._send_described(node_id, picture)
        else:
            kind = struct.pack(">I", 2 if picture.startswith(_PNG) else 1)
            self._sockets.publish_bytes(PREVIEW_IMAGE, kind + picture, self._client_id)

    def finish(self, node_id: str) -> None:
        """A node is done."""
        maximum = self._nodes[node_id]["max"] if node_id in self._nodes else 1
        self._set(node_id, maximum, maximum, "finished")

    def text(self, node_id: str, text: str) -> None:
        """A node sends a text while it runs."""
        name = node_id.encode()
        data = struct.pack(">I", len(name)) + name + text.encode()
        self._sockets.publish_bytes(TEXT, data, self._client_id)

    def _wants_metadata(self) -> bool:
        return self._sockets.supports(self._client_id, "supports_preview_metadata")

    def _send_described(self, node_id: str, picture: bytes) -> None:
        kind = "image/png" if picture.startswith(_PNG) else "image/jpeg"
        data = {
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
            "image_type": kind,
        }
        head = json.dumps(data).encode()
        message = struct.pack(">I", len(head)) + head + picture
        self._sockets.publish_bytes(PREVIEW_IMAGE_WITH_METADATA, message, self._client_id)

    def _set(self, node_id: str, value: float, maximum: float, state: str) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        data = {"prompt_id": self._prompt_id, "nodes": self._nodes}
        self._sockets.publish_json("progress_state", data, self._client_id)
