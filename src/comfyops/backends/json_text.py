"""Pure: JSON of servers, with text that can be kept and passed on."""

from __future__ import annotations

import json
import re
from typing import Any

_HALF = re.compile(rb"\\u[dD]|\xed")
_HALF_TEXT = re.compile("\\\\u[dD]|[\ud800-\udfff]")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, with "?" for each half of a character (a lone surrogate): nodes may show one, and
    neither a database nor UTF-8 can hold it. Raises ValueError and RecursionError, as `json.loads` does."""
    data = json.loads(text)
    doubtful = _HALF_TEXT.search(text) if isinstance(text, str) else _HALF.search(text)
    return json.loads(json.dumps(data, ensure_ascii=False).encode(errors="replace")) if doubtful else data
