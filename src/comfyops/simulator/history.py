"""What a simulated server remembers of finished runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyops.simulator.queue import Item


def now() -> int:
    """Milliseconds since 1970, the unit of every time stamp on the wire."""
    return int(time.time() * 1000)


@dataclass
class Record:
    """The result of one run as it grows: messages, outputs by node, and which node they belong to."""

    item: Item
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    succeeded: bool = True

    def add_output(self, node_id: str, ui: Mapping[str, Any]) -> None:
        """Note what a node shows."""
        self.outputs[node_id] = ui
        self.meta[node_id] = {
            "node_id": node_id,
            "display_node": node_id,
            "parent_node": None,
            "real_node_id": node_id,
        }

    def entry(self) -> dict[str, Any]:
        """The record in the shape of GET /history."""
        return {
            "prompt": self.item.entry(),
            "outputs": self.outputs,
            "status": {
                "status_str": "success" if self.succeeded else "error",
                "completed": self.succeeded,
                "messages": self.messages,
            },
            "meta": self.meta,
        }


class History:
    """Finished runs by prompt id, oldest first, at most `limit` (the real server keeps one more)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: dict[str, dict[str, Any]] = {}

    def add(self, record: Record) -> None:
        """Remember a run; a second run of the same id takes the place of the first."""
        if len(self._records) > self._limit:
            self._records.pop(next(iter(self._records)))
        self._records[record.item.id] = record.entry()

    def get(self, prompt_id: str) -> dict[str, Any] | None:
        """One record, None where there is none."""
        return self._records.get(prompt_id)

    def all(self) -> dict[str, dict[str, Any]]:
        """All records."""
        return dict(self._records)

    def page(self, max_items: int | None, offset: int) -> dict[str, dict[str, Any]]:
        """Up to `max_items` records from `offset`; a negative offset means the newest ones."""
        keys = list(self._records)
        if offset < 0 and max_items is not None:
            offset = len(keys) - max_items
        chosen = keys[max(offset, 0) :]
        if max_items is not None:
            # The real server stops after adding a record, so that 0 or less gives one where any is left.
            chosen = chosen[: max(max_items, 1)]
        return {key: self._records[key] for key in chosen}

    def delete(self, prompt_id: str) -> None:
        """Forget one run, if it is known."""
        self._records.pop(prompt_id, None)

    def clear(self) -> None:
        """Forget all runs."""
        self._records.clear()
