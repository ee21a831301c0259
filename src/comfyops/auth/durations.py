"""Pure: lengths of time as people write them."""

from __future__ import annotations

import re

from comfyops.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LONGEST = 36_525 * 86_400.0  # a hundred years


def seconds(text: str) -> float:
    """Seconds of "90s", "45m", "12h", "30d" or "2w". Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip().lower())
    if found is None or not 0 < (length := int(found[1]) * _UNITS[found[2]]) <= _LONGEST:
        raise UsageError(f"{text!r} is no length of time.", hint="Write 90s, 45m, 12h, 30d or 2w.")
    return length
